//! What a principal may do: permissions, the route table, and who may change what.
//!
//! Pure and synchronous: no I/O, no clock, the same answer for the same input. [`Authorized`] is minted here and
//! nowhere else; the store's writes take nothing less.

pub mod caller;
pub mod grant;
pub mod path_permission;
pub mod route_table;

pub use caller::{Action, Authorized, Caller, Context, Forbidden, Scope, action};
pub use grant::PermissionSet;
pub use route_table::{RouteTable, RouteTableBuilder, Tie};
