//! The words of a domain model: entities, aggregate roots, audit and soft-delete fields, access control.

mod aggregate;
mod audit;
mod securable;
mod soft_delete;

pub use aggregate::{Access, AccessEntry, AggregateRoot, Entity, Root};
pub use audit::{AuditFields, Auditable};
pub use securable::{AccessControlEntry, Permission, Permissions, Securable, Subject, merge_entries};
pub use soft_delete::{SoftDeletable, SoftDeleteFields};
