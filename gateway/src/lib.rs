//! Data plane: Pingora phases around the gate.
