//! Who asks.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids;
use crate::stream::Name;

/// The scope that may do everything, host administration included.
pub const ADMIN_SCOPE: &str = "admin";

/// The scope that may append events without a decision.
pub const APPEND_SCOPE: &str = "events:append";

/// The scope of the host's own hands: policies carry out what somebody else was allowed to begin.
const INTERNAL_SCOPE: &str = "internal";

/// A caller, authenticated. Every request has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Its id, the `user` of access entries.
    pub id: Uuid,
    /// The tenant whose data it sees; there is no request across tenants.
    pub tenant: Name,
    /// The groups it belongs to.
    pub groups: Vec<String>,
    /// What it may ask of the host.
    pub scopes: Vec<String>,
}

impl Principal {
    /// The administrator of a host.
    pub fn administrator(tenant: impl Into<Name>) -> Self {
        let id = ids::derived_id(&["principal", "administrator"]);
        Self { id, tenant: tenant.into(), groups: Vec::new(), scopes: vec![ADMIN_SCOPE.to_owned()] }
    }

    /// The hand of a policy.
    pub fn policy(tenant: impl Into<Name>, plugin: &str, policy: &str) -> Self {
        let id = ids::derived_id(&["principal", "policy", plugin, policy]);
        Self { id, tenant: tenant.into(), groups: Vec::new(), scopes: vec![INTERNAL_SCOPE.to_owned()] }
    }

    /// Whether it has the scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| own == scope)
    }

    /// Whether access entries do not bind it: the administrator and the host's own hands.
    pub fn is_unbounded(&self) -> bool {
        self.has_scope(ADMIN_SCOPE) || self.is_internal()
    }

    /// Whether it is the host itself. No key or token can carry this.
    pub fn is_internal(&self) -> bool {
        self.has_scope(INTERNAL_SCOPE)
    }
}
