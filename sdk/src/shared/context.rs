//! What a pure function gets instead of its surroundings: the time, randomness, who asks, and other aggregates.
//!
//! A decision that wants another aggregate calls [`Context::load`] and goes on with `?`. Inside, the first call has no
//! answer yet and leaves with [`Error::Needs`]; the host fetches and calls again, and since the function is pure it
//! asks the same questions in the same order, and now finds them answered.

use std::borrow::Cow;
use std::cell::RefCell;

use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::errors::{Error, Fault, Rejection, Result};
use super::id::StreamRef;
use super::random::Random;
use super::time::Timestamp;
use crate::domain::{AggregateRoot, Permission, Permissions};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its id, the `user` of subjects.
    pub id: Uuid,
    /// The groups it belongs to.
    pub groups: Vec<String>,
}

/// Something that a decision depends on and does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Another aggregate, with what the caller may do with it.
    Aggregate(StreamRef),
    /// The chain of parents that begins with the aggregate itself and ends at a root.
    Ancestors(StreamRef),
}

/// The host's answer to a [`Need`].
#[derive(Debug, Clone)]
pub enum NeedAnswer {
    /// The aggregate as it stands.
    Aggregate(LoadedState),
    /// The chain.
    Ancestors(Vec<StreamRef>),
}

/// An aggregate as the host hands it over.
#[derive(Debug, Clone)]
pub struct LoadedState {
    /// Which one.
    pub stream: StreamRef,
    /// Its version; 0 where there is none.
    pub version: u64,
    /// Its state as JSON.
    pub state: Option<Vec<u8>>,
    /// What the caller may do with it.
    pub permissions: Permissions,
}

/// Another aggregate, as a decision sees it.
#[derive(Debug, Clone)]
pub struct Loaded<A> {
    /// Its folded state.
    pub state: A,
    /// Its version.
    pub version: u64,
    /// What the caller may do with it.
    pub permissions: Permissions,
    aggregate: &'static str,
}

impl<A> Loaded<A> {
    /// Goes on only if the caller may do this with the aggregate.
    ///
    /// # Errors
    /// Rejected as forbidden.
    pub fn require(&self, permission: Permission) -> Result<()> {
        require(self.permissions, permission, self.aggregate)
    }
}

fn require(permissions: Permissions, permission: Permission, aggregate: &str) -> Result<()> {
    if permissions.contains(permission) {
        return Ok(());
    }
    Err(Rejection::forbidden(format!("this needs `{}` on the {aggregate}", permission.name())).into())
}

/// All that a [`Context`] is made of.
#[derive(Debug, Clone)]
pub struct ContextParts {
    /// The time of the decision.
    pub now: Timestamp,
    /// 128 random bits.
    pub seed: (u64, u64),
    /// The tenant.
    pub tenant: String,
    /// Who asks.
    pub principal: Principal,
    /// In whose name, if another's.
    pub on_behalf_of: Option<Uuid>,
    /// What the principal may do with the aggregate that is called.
    pub permissions: Permissions,
    /// The command's id; for a query the request's, for a policy one that its reaction to this event always has.
    pub command_id: Uuid,
    /// One for everything that follows from one request; `None` where that is the command's id.
    pub correlation_id: Option<String>,
    /// What directly led to the call: the position of an event.
    pub causation_id: Option<String>,
}

/// Everything that a decision, a query or a reaction may know besides its input.
#[derive(Debug)]
pub struct Context {
    parts: ContextParts,
    random: Random,
    answers: Vec<NeedAnswer>,
    asked: RefCell<Vec<Need>>,
}

impl Context {
    /// A context with the answers so far; the glue and the test kit make them.
    pub fn new(parts: ContextParts, answers: Vec<NeedAnswer>) -> Self {
        let random = Random::new(parts.seed);
        Self { parts, random, answers, asked: RefCell::new(Vec::new()) }
    }

    /// The time of the decision; it is recorded with the events as `occurred_at`.
    pub const fn now(&self) -> Timestamp {
        self.parts.now
    }

    /// Randomness that repeats when the command is replayed.
    pub const fn random(&self) -> &Random {
        &self.random
    }

    /// The tenant; other tenants' aggregates cannot be loaded.
    pub fn tenant(&self) -> &str {
        &self.parts.tenant
    }

    /// Who asks.
    pub const fn principal(&self) -> &Principal {
        &self.parts.principal
    }

    /// In whose name the principal acts, if another's: what a policy does, it does for whoever began it.
    pub const fn on_behalf_of(&self) -> Option<Uuid> {
        self.parts.on_behalf_of
    }

    /// Whose deed this is: [`Self::on_behalf_of`], else the principal.
    pub fn actor(&self) -> Uuid {
        self.parts.on_behalf_of.unwrap_or(self.parts.principal.id)
    }

    /// What the caller may do with the aggregate that is called, grants from above included.
    pub const fn permissions(&self) -> Permissions {
        self.parts.permissions
    }

    /// The command's id; for a query the request's, for a policy one that its reaction to this event always has.
    pub const fn command_id(&self) -> Uuid {
        self.parts.command_id
    }

    /// One for everything that follows from one request: the id of the command that began it, unless the log came from
    /// elsewhere.
    pub fn correlation_id(&self) -> Cow<'_, str> {
        match &self.parts.correlation_id {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(self.parts.command_id.to_string()),
        }
    }

    /// What directly led to this call: the position of an event, where one did.
    pub fn causation_id(&self) -> Option<&str> {
        self.parts.causation_id.as_deref()
    }

    /// Goes on only if the caller may do this with the aggregate that is called.
    ///
    /// # Errors
    /// Rejected as forbidden.
    pub fn require(&self, permission: Permission) -> Result<()> {
        require(self.parts.permissions, permission, "aggregate")
    }

    /// Another aggregate. One that does not exist and one that the caller may not read are answered alike.
    ///
    /// # Errors
    /// Rejected as not found; or the wish for the aggregate, which `?` hands on.
    pub fn load<A: AggregateRoot>(&self, id: Uuid) -> Result<Loaded<A>> {
        self.find(id)?.ok_or_else(|| no_such::<A>(id))
    }

    /// Like [`Self::load`], reading no more than a part of the state: whatever fields `V` has.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_as<A: AggregateRoot, V: DeserializeOwned>(&self, id: Uuid) -> Result<Loaded<V>> {
        readable(self.inspect_as::<A, V>(id)?).ok_or_else(|| no_such::<A>(id))
    }

    /// Like [`Self::load`], with absence (or unreadability) as `None`.
    ///
    /// # Errors
    /// The wish for the aggregate, which `?` hands on.
    pub fn find<A: AggregateRoot>(&self, id: Uuid) -> Result<Option<Loaded<A>>> {
        Ok(readable(self.inspect(id)?))
    }

    /// Another aggregate, whatever the caller may do with it; `None` where there is none. For rules that hold
    /// whether or not the caller can see why; what is in it is not for the caller.
    ///
    /// # Errors
    /// The wish for the aggregate, which `?` hands on.
    pub fn inspect<A: AggregateRoot>(&self, id: Uuid) -> Result<Option<Loaded<A>>> {
        let mut found = self.inspect_as::<A, A>(id)?;
        if let Some(found) = &mut found {
            found.state.root_mut().set_version(found.version);
        }
        Ok(found)
    }

    /// Like [`Self::inspect`], reading no more than a part of the state: whatever fields `V` has.
    ///
    /// # Errors
    /// The wish for the aggregate, which `?` hands on.
    pub fn inspect_as<A: AggregateRoot, V: DeserializeOwned>(&self, id: Uuid) -> Result<Option<Loaded<V>>> {
        let places = self.ask(&[Need::Aggregate(StreamRef::of::<A>(id))])?;
        let NeedAnswer::Aggregate(found) = &self.answers[places[0]] else {
            return Err(Fault::new("asked for an aggregate, got ancestors").into());
        };
        let Some(json) = found.state.as_deref() else {
            return Ok(None);
        };
        let state = serde_json::from_slice(json).map_err(Fault::from)?;
        let LoadedState { version, permissions, .. } = *found;
        Ok(Some(Loaded { state, version, permissions, aggregate: A::NAME }))
    }

    /// Several aggregates of a type at once: one round to the host instead of one for each.
    ///
    /// # Errors
    /// As for [`Self::load`].
    pub fn load_all<A: AggregateRoot>(&self, ids: &[Uuid]) -> Result<Vec<Loaded<A>>> {
        let needs: Vec<Need> = ids.iter().map(|id| Need::Aggregate(StreamRef::of::<A>(*id))).collect();
        self.prefetch(&needs)?;
        ids.iter().map(|id| self.load(*id)).collect()
    }

    /// The chain of parents that begins with the aggregate itself and ends at a root.
    ///
    /// # Errors
    /// The wish for the chain, which `?` hands on.
    pub fn ancestors(&self, stream: &StreamRef) -> Result<Vec<StreamRef>> {
        let places = self.ask(&[Need::Ancestors(stream.clone())])?;
        match &self.answers[places[0]] {
            NeedAnswer::Ancestors(chain) => Ok(chain.clone()),
            NeedAnswer::Aggregate(_) => Err(Fault::new("asked for ancestors, got an aggregate").into()),
        }
    }

    /// Asks for things wanted later, so that they come with the next round.
    ///
    /// # Errors
    /// The wish for them, which `?` hands on.
    pub fn prefetch(&self, needs: &[Need]) -> Result<()> {
        self.ask(needs).map(|_| ())
    }

    /// Where the answers to these are; what is asked again has its first answer.
    fn ask(&self, needs: &[Need]) -> Result<Vec<usize>> {
        let mut asked = self.asked.borrow_mut();
        let mut places = Vec::with_capacity(needs.len());
        for need in needs {
            let known = asked.iter().position(|earlier| earlier == need);
            places.push(known.unwrap_or_else(|| {
                asked.push(need.clone());
                asked.len() - 1
            }));
        }
        if asked.len() > self.answers.len() {
            return Err(Error::Needs(asked[self.answers.len()..].to_vec()));
        }
        Ok(places)
    }
}

fn no_such<A: AggregateRoot>(id: Uuid) -> Error {
    Rejection::not_found(format!("there is no {} {id}", A::NAME)).into()
}

fn readable<A>(found: Option<Loaded<A>>) -> Option<Loaded<A>> {
    found.filter(|found| found.permissions.contains(Permission::Read))
}
