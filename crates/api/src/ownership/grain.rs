//! How finely a value is owned: as a whole, field by field, or item by item.
//!
//! Flows in: the graph of types and the rules of their lists. Flows out: a [`Grain`] for each place in an object.

use crate::merge_keys::{self, ListType};
use crate::types::{self, Shape, Type};

/// How a value is owned.
#[derive(Clone, Copy, Debug)]
pub(super) enum Grain {
    /// As a whole.
    Leaf,
    /// Field by field.
    Fields(&'static Type),
    /// Key by key, with values of this shape.
    Entries(&'static Shape),
    /// Item by item, where the items are scalars.
    Set,
    /// Item by item, told apart by keys.
    Keyed(&'static [&'static str], &'static Shape),
}

impl Grain {
    /// The grain of an object of the type called `name`.
    pub fn of_type(name: &str) -> Self {
        types::by_name(name).map_or(Self::Leaf, Self::Fields)
    }

    /// The grain of what lies below: of a field, a map's value, an item of a keyed list.
    pub fn below(self, name: &str) -> Self {
        match self {
            Self::Fields(owner) => owner.fields.get(name).map_or(Self::Leaf, |shape| {
                let granular = merge_keys::is_granular(&owner.name, name);
                match shape {
                    Shape::Map(_) if merge_keys::is_atomic_field(&owner.name, name) => Self::Leaf,
                    Shape::List(item) => match merge_keys::list_type(&owner.name, name) {
                        Some(ListType::Set) => Self::Set,
                        Some(ListType::Map(keys)) => Self::Keyed(keys, item),
                        None => Self::Leaf,
                    },
                    Shape::Object(name) if granular => Self::of_type(name),
                    shape => Self::of_shape(shape),
                }
            }),
            Self::Entries(item) | Self::Keyed(_, item) => Self::of_shape(item),
            Self::Leaf | Self::Set => Self::Leaf,
        }
    }

    fn of_shape(shape: &'static Shape) -> Self {
        match shape {
            Shape::Object(name) if !merge_keys::is_atomic(name) => Self::of_type(name),
            Shape::Map(item) => Self::Entries(item),
            _ => Self::Leaf,
        }
    }
}
