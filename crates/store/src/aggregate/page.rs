//! Pages of lists.

use uuid::Uuid;

/// Most rows of one page.
pub(crate) const MAX_LIMIT: u32 = 500;

/// Which part of a list, in the order of ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Page {
    /// Only rows after this id.
    pub after: Option<Uuid>,
    /// At most this many, up to 500.
    pub limit: u32,
}

impl Page {
    /// The beginning, 50 rows.
    pub const FIRST: Self = Self { after: None, limit: 50 };
    /// As much as one page may hold.
    pub const WIDEST: Self = Self { after: None, limit: MAX_LIMIT };

    pub(crate) fn start(self) -> Uuid {
        self.after.unwrap_or(Uuid::nil())
    }

    pub(crate) fn limit(self) -> u32 {
        self.limit.clamp(1, MAX_LIMIT)
    }
}
