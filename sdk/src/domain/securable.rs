//! Access control lists. Permissions add up; nothing denies. `admin` implies all, every other implies `read`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::aggregate::AccessEntry;

/// One thing that somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Permission {
    /// See it.
    Read,
    /// Change it.
    Write,
    /// Delete and restore it.
    Delete,
    /// Grant and revoke.
    Share,
    /// Everything, ownership included.
    Admin,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Delete, Self::Share, Self::Admin];

    /// The name in JSON: `read`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Share => "share",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of permissions, closed under implication.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Permissions(u8);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(0b1_1111);

    /// Whether the permission is in the set.
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The permissions in the set.
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.contains(*permission))
    }
}

impl From<Permission> for Permissions {
    fn from(permission: Permission) -> Self {
        match permission {
            Permission::Admin => Self::ALL,
            other => Self(other.bit() | Permission::Read.bit()),
        }
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        permissions.into_iter().fold(Self::NONE, |sum, permission| sum.union(permission.into()))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Whom a grant is for. In JSON `{"user": "<uuid>"}`, `{"group": "<name>"}` or `"everyone"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Subject {
    /// One user.
    User(Uuid),
    /// The members of a group.
    Group(#[schemars(length(min = 1, max = 255))] String),
    /// Every user of the tenant.
    Everyone,
}

impl Subject {
    /// The kind as one word: `user`, `group` or `everyone`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Group(_) => "group",
            Self::Everyone => "everyone",
        }
    }

    /// The user's id or the group's name; empty for everyone.
    pub fn name(&self) -> String {
        match self {
            Self::User(id) => id.to_string(),
            Self::Group(name) => name.clone(),
            Self::Everyone => String::new(),
        }
    }

    /// The subject of this kind and name, the other way round than [`Self::kind`] and [`Self::name`].
    pub fn from_parts(kind: &str, name: &str) -> Option<Self> {
        match kind {
            "user" => Uuid::try_parse(name).ok().map(Self::User),
            "group" => Some(Self::Group(name.to_owned())),
            "everyone" => Some(Self::Everyone),
            _ => None,
        }
    }
}

/// A grant: one permission for one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct AccessControlEntry {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub permission: Permission,
}

/// Something with an access control list.
pub trait Securable {
    /// The list.
    fn get_acl(&self) -> &[AccessControlEntry];

    /// Replaces the list.
    fn set_acl(&mut self, acl: Vec<AccessControlEntry>);

    /// Whether the subject's own grants give the permission, be it by implication. Groups and parents are the host's.
    fn has_permission(&self, subject: &Subject, permission: Permission) -> bool {
        let own = self.get_acl().iter().filter(|entry| entry.subject == *subject);
        own.map(|entry| entry.permission).collect::<Permissions>().contains(permission)
    }

    /// Adds a grant; one that is there stays as it is.
    fn grant_permission(&mut self, subject: Subject, permission: Permission) {
        let entry = AccessControlEntry { subject, permission };
        if !self.get_acl().contains(&entry) {
            let mut acl = self.get_acl().to_vec();
            acl.push(entry);
            self.set_acl(acl);
        }
    }

    /// Takes a grant away; other grants of the subject stay.
    fn revoke_permission(&mut self, subject: &Subject, permission: Permission) {
        let mut acl = self.get_acl().to_vec();
        acl.retain(|entry| entry.subject != *subject || entry.permission != permission);
        self.set_acl(acl);
    }
}

/// The list in the form of [`super::Access`]: one entry for each subject, in the order of their first grants.
pub fn merge_entries(acl: &[AccessControlEntry]) -> Vec<AccessEntry> {
    let mut entries: Vec<AccessEntry> = Vec::new();
    for AccessControlEntry { subject, permission } in acl {
        let more = Permissions::from(*permission);
        match entries.iter_mut().find(|entry| entry.subject == *subject) {
            Some(entry) => entry.permissions = entry.permissions.union(more),
            None => entries.push(AccessEntry { subject: subject.clone(), permissions: more }),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Thing(Vec<AccessControlEntry>);

    impl Securable for Thing {
        fn get_acl(&self) -> &[AccessControlEntry] {
            &self.0
        }

        fn set_acl(&mut self, acl: Vec<AccessControlEntry>) {
            self.0 = acl;
        }
    }

    #[test]
    fn grants_add_up_and_imply() {
        let mut thing = Thing::default();
        thing.grant_permission(Subject::Everyone, Permission::Write);
        thing.grant_permission(Subject::Everyone, Permission::Write);
        assert_eq!(thing.get_acl().len(), 1);
        assert!(thing.has_permission(&Subject::Everyone, Permission::Read));
        assert!(!thing.has_permission(&Subject::Everyone, Permission::Delete));
        thing.grant_permission(Subject::Everyone, Permission::Admin);
        assert!(thing.has_permission(&Subject::Everyone, Permission::Delete));
        assert_eq!(merge_entries(thing.get_acl()).len(), 1);
        thing.revoke_permission(&Subject::Everyone, Permission::Admin);
        assert!(!thing.has_permission(&Subject::Everyone, Permission::Delete));
        assert!(thing.has_permission(&Subject::Everyone, Permission::Write));
    }
}
