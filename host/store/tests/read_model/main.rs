//! Read models: what is written is read, what must not be reached is not.

mod declarations;
mod files;
mod grouping;
mod readable;
mod support;
mod values;
