//! Lists come in pages, so that no message grows without bound.

/// Some of the items, and where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// At most 500, or 1 MiB.
    pub items: Vec<T>,
    /// Comes back as `after` in the next call; none: this was the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// The only page.
    pub const fn only(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

impl<T> Default for Page<T> {
    /// An empty page, and the last one.
    fn default() -> Self {
        Self::only(Vec::new())
    }
}
