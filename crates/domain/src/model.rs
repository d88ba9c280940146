//! The rows the control plane keeps, as the product knows them.
