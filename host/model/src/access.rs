//! Who may do what: entries on an aggregate, inherited along its parents.
//!
//! Permissions add up; nothing denies. `admin` implies all, every other implies `read`, an owner has all. An aggregate
//! that is cut off (`inherits` is false) takes nothing from above.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::principal::Principal;
use crate::stream::{StreamRef, Version};

/// The longest chain of parents that is followed.
pub const CHAIN_LINKS: usize = 1_000;

/// One thing that somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// A set of permissions, closed under implication. In JSON a list of names.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(into = "Vec<Permission>", from = "Vec<Permission>")]
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

    /// The set as bits: `read` is 1, `write` 2, `delete` 4, `share` 8, `admin` 16.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of those bits, closed under implication; unknown bits are left out.
    pub const fn from_bits(bits: u8) -> Self {
        let known = bits & Self::ALL.0;
        if known & Permission::Admin.bit() != 0 {
            Self::ALL
        } else if known != 0 {
            Self(known | Permission::Read.bit())
        } else {
            Self::NONE
        }
    }
}

impl From<Permission> for Permissions {
    fn from(permission: Permission) -> Self {
        Self::from_bits(permission.bit())
    }
}

impl From<Vec<Permission>> for Permissions {
    fn from(list: Vec<Permission>) -> Self {
        Self::from_bits(list.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

impl From<Permissions> for Vec<Permission> {
    fn from(set: Permissions) -> Self {
        Permission::ALL.into_iter().filter(|permission| set.contains(*permission)).collect()
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Vec::from(*self)).finish()
    }
}

/// Whom an entry is for. In JSON `{"user": "<uuid>"}`, `{"group": "<name>"}` or `"everyone"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One principal.
    User(Uuid),
    /// The members of a group.
    Group(String),
    /// Every principal of the tenant.
    Everyone,
}

impl Subject {
    /// Whether the principal is meant.
    pub fn includes(&self, principal: &Principal) -> bool {
        match self {
            Self::User(id) => *id == principal.id,
            Self::Group(name) => principal.groups.contains(name),
            Self::Everyone => true,
        }
    }
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub permissions: Permissions,
}

/// Who may do what with an aggregate: a function of its folded state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The principal that may do everything.
    pub owner: Option<Uuid>,
    /// The aggregate that grants are inherited from.
    pub parent: Option<StreamRef>,
    /// Whether they are.
    pub inherits: bool,
    /// The grants.
    pub entries: Vec<AccessEntry>,
}

impl Access {
    /// The next link of the chain along which grants are inherited.
    pub fn inherited_from(&self) -> Option<&StreamRef> {
        self.parent.as_ref().filter(|_| self.inherits)
    }

    /// What the principal may do by this link alone.
    pub fn granted_here(&self, principal: &Principal) -> Permissions {
        if self.owner == Some(principal.id) {
            return Permissions::ALL;
        }
        self.entries
            .iter()
            .filter(|entry| entry.subject.includes(principal))
            .fold(Permissions::NONE, |sum, entry| sum.union(entry.permissions))
    }
}

/// A link of an aggregate's chain as the log has it: its access, and the version at which that last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRow {
    /// Whose access it is.
    pub stream: StreamRef,
    /// The stream's version at which `access` last changed; 0 where the stream has none.
    pub version: Version,
    /// The access; `None` where the stream has none.
    pub access: Option<Access>,
}

/// Why a principal may do what it may: one grant on the way up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Where on the chain the grant stands.
    pub on: StreamRef,
    /// What it gives.
    pub permissions: Permissions,
    /// Through which subject; `None` for the owner.
    pub subject: Option<Subject>,
}

/// What the principal may do, given the chain from the aggregate itself upwards.
pub fn permissions<'a>(principal: &Principal, chain: impl IntoIterator<Item = &'a Access>) -> Permissions {
    if principal.is_unbounded() {
        return Permissions::ALL;
    }
    let mut sum = Permissions::NONE;
    for access in chain {
        sum = sum.union(access.granted_here(principal));
        if !access.inherits {
            break;
        }
    }
    sum
}

/// Every grant that [`permissions`] adds up, from the aggregate itself upwards.
pub fn explain(principal: &Principal, chain: &[(StreamRef, Access)]) -> Vec<Grant> {
    let mut grants = Vec::new();
    for (stream, access) in chain {
        if access.owner == Some(principal.id) {
            grants.push(Grant { on: stream.clone(), permissions: Permissions::ALL, subject: None });
        }
        for entry in access.entries.iter().filter(|entry| entry.subject.includes(principal)) {
            let subject = Some(entry.subject.clone());
            grants.push(Grant { on: stream.clone(), permissions: entry.permissions, subject });
        }
        if !access.inherits {
            break;
        }
    }
    grants
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody(groups: &[&str]) -> Principal {
        Principal {
            id: Uuid::from_u128(7),
            tenant: "default".into(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            scopes: Vec::new(),
        }
    }

    fn granting(subject: Subject, permission: Permission) -> Access {
        Access {
            inherits: true,
            entries: vec![AccessEntry { subject, permissions: permission.into() }],
            ..Access::default()
        }
    }

    #[test]
    fn admin_implies_all_and_every_other_implies_read() {
        assert_eq!(Permissions::from(Permission::Admin), Permissions::ALL);
        for permission in [Permission::Write, Permission::Delete, Permission::Share] {
            let set = Permissions::from(permission);
            assert!(set.contains(Permission::Read) && set.contains(permission));
            assert!(!set.contains(Permission::Admin));
        }
    }

    #[test]
    fn grants_add_up_along_the_chain_until_it_is_cut() {
        let here = granting(Subject::Everyone, Permission::Write);
        let cut = Access { inherits: false, ..granting(Subject::Group("staff".into()), Permission::Delete) };
        let above = granting(Subject::Everyone, Permission::Admin);
        let sum = permissions(&somebody(&["staff"]), [&here, &cut, &above]);
        assert!(sum.contains(Permission::Write) && sum.contains(Permission::Delete));
        assert!(!sum.contains(Permission::Admin), "above the cut");
        assert!(!permissions(&somebody(&[]), [&here, &cut]).contains(Permission::Delete), "not in the group");
    }

    #[test]
    fn an_owner_has_all_and_a_check_says_why() {
        let me = somebody(&[]);
        let owned = Access { owner: Some(me.id), inherits: true, ..Access::default() };
        assert_eq!(permissions(&me, [&owned]), Permissions::ALL);
        let stream = StreamRef::new("folder", Uuid::from_u128(1));
        let grants = explain(&me, &[(stream.clone(), owned)]);
        assert_eq!(grants, [Grant { on: stream, permissions: Permissions::ALL, subject: None }]);
    }

    #[test]
    fn subjects_read_as_the_api_writes_them() {
        let texts =
            [r#"{"user":"00000000-0000-0000-0000-000000000007"}"#, r#"{"group":"staff"}"#, r#""everyone""#];
        for text in texts {
            let subject: Subject = serde_json::from_str(text).expect("a subject");
            assert_eq!(serde_json::to_string(&subject).expect("JSON"), text);
        }
    }
}
