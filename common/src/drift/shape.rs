//! Which fields of a record count.

/// The fields of a record that count: a tree that is written as a `static`.
///
/// Where a value is not what its shape expects (a text where an object was), it counts as it is:
/// a shape never hides what it does not understand.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// The value and all below it. A member that is null is as good as absent.
    Whole,
    /// The value and all below it, to the letter: null stays null. For what customers make up.
    Verbatim,
    /// An instant, written in one of many ways; in UTC afterwards. A local time without an offset
    /// is no instant and stays as it is.
    Instant,
    /// An instant until which something holds. Once it is past it is as good as null: there are
    /// platforms that take it away then, and platforms that let it stand.
    Until,
    /// A URL of which only the path counts: host and signature are others at every read.
    UrlPath,
    /// These members and no others. One that is null is as good as absent.
    Object(&'static [Field]),
    /// These members and no others, and null is a value: that the member is there says something.
    Marks(&'static [Field]),
    /// An array whose order counts.
    List(&'static Shape),
    /// An array whose order does not count. It is sorted by the member named `by`, and by the
    /// whole element where that is equal or none is named. `by` must be among the fields of `of`.
    Set {
        /// Each element.
        of: &'static Shape,
        /// What tells the elements apart, so that a difference compares the right two.
        by: Option<&'static str>,
    },
    /// A `Set` that is sorted by numbers written as text: `9` before `10`. By `by`, or by the
    /// elements themselves.
    NumberedSet {
        /// Each element.
        of: &'static Shape,
        /// As in `Set`.
        by: Option<&'static str>,
    },
}

/// A member of an object that counts.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What of it counts.
    pub shape: Shape,
}

impl Field {
    /// All of this member.
    pub const fn whole(name: &'static str) -> Self {
        Self { name, shape: Shape::Whole }
    }

    /// A member that is an instant.
    pub const fn instant(name: &'static str) -> Self {
        Self { name, shape: Shape::Instant }
    }

    /// A member of which only some members count.
    pub const fn object(name: &'static str, fields: &'static [Self]) -> Self {
        Self { name, shape: Shape::Object(fields) }
    }

    /// A member of another shape.
    pub const fn of(name: &'static str, shape: Shape) -> Self {
        Self { name, shape }
    }
}
