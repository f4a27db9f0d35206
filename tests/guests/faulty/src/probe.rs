//! The aggregate and its commands.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bindings::cairn::plugin::log::{self, Level};
use crate::bindings::cairn::plugin::types::{
    Context, Event, Fault, FieldError, NewEvent, Permissions, Rejection, RejectionKind, StreamRef, Uuid,
};
use crate::bindings::exports::cairn::plugin::aggregates::{
    Accepted, Access, AccessEntry, Aggregate, Answer, Changes as Changed, GuestAggregate, Need, Outcome,
    Snapshot, Subject,
};
use crate::{fault, id, text};

/// What a guest must not have: something that one decision leaves for the next.
static MEMORY: AtomicU64 = AtomicU64::new(0);

/// The state.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Probe {
    exists: bool,
    count: i64,
    changes: Changes,
}

/// What `create` and `change` may set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Changes {
    owner: Option<String>,
    parent: Option<String>,
    inherits: Option<bool>,
    /// The name of a permission that everyone has.
    everyone: Option<String>,
    claims: Option<Vec<String>>,
}

pub struct Resident(RefCell<Probe>);

impl GuestAggregate for Resident {
    fn restore(_: String, _: Uuid, snapshot: Option<Snapshot>) -> Result<Aggregate, Fault> {
        let probe = match snapshot {
            Some(snapshot) => {
                serde_json::from_slice(&snapshot.state).map_err(|error| fault(error.to_string()))?
            }
            None => Probe::default(),
        };
        Ok(Aggregate::new(Self(RefCell::new(probe))))
    }

    fn apply(&self, events: Vec<Event>) -> Result<Changed, Fault> {
        self.0.borrow_mut().apply_all(events.iter().map(|event| (event.type_.as_str(), &*event.data)))
    }

    fn decide(
        &self,
        context: Context,
        command: String,
        payload: Vec<u8>,
        answers: Vec<Answer>,
    ) -> Result<Outcome, Fault> {
        let payload: Value = serde_json::from_slice(&payload).map_err(|error| fault(error.to_string()))?;
        let mut probe = self.0.borrow_mut();
        let mut outcome = probe.handle(&context, &command, &payload, &answers)?;
        if let Outcome::Accepted(accepted) = &mut outcome
            && !accepted.events.iter().any(is_not_applicable)
        {
            let events = accepted.events.iter().map(|event| (event.type_.as_str(), &*event.data));
            accepted.changes = probe.apply_all(events)?;
            if command == "lossy" {
                accepted.events = vec![added(0)];
            }
        }
        Ok(outcome)
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&*self.0.borrow()).unwrap_or_default()
    }

    fn state(&self) -> Option<Vec<u8>> {
        let probe = self.0.borrow();
        probe.exists.then(|| json!({ "count": probe.count }).to_string().into_bytes())
    }

    fn access(&self) -> Access {
        self.0.borrow().access()
    }

    fn claims(&self) -> Vec<String> {
        self.0.borrow().claims()
    }
}

impl Changes {
    fn access(&self) -> Access {
        let entry =
            |name: &String| AccessEntry { subject: Subject::Everyone, permissions: permissions(name) };
        Access {
            owner: self.owner.as_deref().and_then(|owner| id(owner).ok()),
            parent: self.parent.as_deref().and_then(|parent| probe(parent).ok()),
            inherits: self.inherits.unwrap_or(true),
            entries: self.everyone.iter().map(entry).collect(),
        }
    }
}

fn permissions(name: &str) -> Permissions {
    match name {
        "read" => Permissions::READ,
        "write" => Permissions::READ | Permissions::WRITE,
        _ => Permissions::all(),
    }
}

fn probe(text: &str) -> Result<StreamRef, Fault> {
    Ok(StreamRef { aggregate: "probe".into(), id: id(text)? })
}

/// What the host should refuse itself, whatever becomes of the state.
fn is_not_applicable(event: &NewEvent) -> bool {
    event.type_ == "ProbeVanished" || event.data == b"{"
}

impl Probe {
    fn access(&self) -> Access {
        if self.exists {
            self.changes.access()
        } else {
            Changes { inherits: Some(false), ..Changes::default() }.access()
        }
    }

    fn claims(&self) -> Vec<String> {
        self.changes.claims.clone().unwrap_or_default()
    }

    fn apply_all<'a>(&mut self, events: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Changed, Fault> {
        let claims = self.claims();
        let mut touched = false;
        for (event_type, data) in events {
            touched |= self.apply(event_type, data)?;
        }
        Ok(Changed {
            access: touched.then(|| self.access()),
            claims: Some(self.claims()).filter(|now| *now != claims),
        })
    }

    /// Folds an event; true if the access may be another.
    fn apply(&mut self, event_type: &str, data: &[u8]) -> Result<bool, Fault> {
        let data: Value = serde_json::from_slice(data).map_err(|error| fault(error.to_string()))?;
        match event_type {
            "ProbeAdded" => {
                self.count += data["by"].as_i64().ok_or_else(|| fault("no number"))?;
                Ok(false)
            }
            "ProbeCreated" | "ProbeChanged" => {
                let new: Changes = serde_json::from_value(data).map_err(|error| fault(error.to_string()))?;
                let old = std::mem::take(&mut self.changes);
                self.exists = true;
                self.changes = Changes {
                    owner: new.owner.or(old.owner),
                    parent: new.parent.or(old.parent),
                    inherits: new.inherits.or(old.inherits),
                    everyone: new.everyone.or(old.everyone),
                    claims: new.claims.or(old.claims),
                };
                Ok(true)
            }
            "ProbePoisoned" => panic!("poison"),
            other => Err(fault(format!("unknown event `{other}`"))),
        }
    }

    fn handle(
        &self,
        context: &Context,
        command: &str,
        payload: &Value,
        answers: &[Answer],
    ) -> Result<Outcome, Fault> {
        match command {
            "create" if payload["loop"] == true => forever(),
            "create" => {
                let mut changes = payload.clone();
                if changes.get("owner").is_none() {
                    changes["owner"] = json!(text(context.principal.id));
                }
                Ok(yes([event("ProbeCreated", 1, &changes)], &Value::Null))
            }
            "change" => Ok(yes([event("ProbeChanged", 1, payload)], &Value::Null)),
            "add" if payload["once"] == true && self.count != 0 => panic!("once is enough"),
            "add" | "lossy" => {
                let by = payload["by"].as_i64().unwrap_or(1);
                Ok(yes([added(by)], &json!({ "count": self.count + by })))
            }
            "noop" => Ok(yes([], &json!({ "count": self.count }))),
            "now" => Ok(yes([], &json!({ "now": context.now, "seed": context.seed.0.to_string() }))),
            "need" => self.need(payload, answers),
            "more" => {
                Ok(Outcome::Need(vec![Need::Aggregate(probe(payload["id"].as_str().unwrap_or_default())?)]))
            }
            "ancestors" => ancestors(payload, answers),
            other => misbehave(other, payload),
        }
    }

    /// Adds the other probes' counts to its own.
    fn need(&self, payload: &Value, answers: &[Answer]) -> Result<Outcome, Fault> {
        let ids: Vec<&str> =
            payload["ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if answers.len() < ids.len() {
            let needs = ids.into_iter().map(|id| probe(id).map(Need::Aggregate));
            return needs.collect::<Result<_, _>>().map(Outcome::Need);
        }
        let mut sum = 0;
        let mut seen = Vec::new();
        for answer in answers {
            let Answer::Aggregate(loaded) = answer else {
                return Err(fault("another answer than asked for"));
            };
            let state: Value = match &loaded.state {
                Some(state) => serde_json::from_slice(state).map_err(|error| fault(error.to_string()))?,
                None => Value::Null,
            };
            sum += state["count"].as_i64().unwrap_or(0);
            seen.push(json!({ "version": loaded.version, "write": loaded.permissions.contains(Permissions::WRITE) }));
        }
        Ok(yes([added(sum)], &json!({ "seen": seen })))
    }
}

fn ancestors(payload: &Value, answers: &[Answer]) -> Result<Outcome, Fault> {
    match answers {
        [Answer::Ancestors(chain)] => {
            let ids: Vec<String> = chain.iter().map(|link| text(link.id)).collect();
            Ok(yes([], &json!(ids)))
        }
        _ => {
            let of = probe(payload["of"].as_str().unwrap_or_default())?;
            Ok(Outcome::Need(vec![Need::Ancestors(of)]))
        }
    }
}

fn misbehave(command: &str, payload: &Value) -> Result<Outcome, Fault> {
    match command {
        "loop" => forever(),
        "trap" => {
            log::log(Level::Error, "these are its last words");
            panic!("a trap was asked for")
        }
        "grow" => {
            let mut eaten: Vec<Vec<u8>> = Vec::new();
            loop {
                eaten.push(vec![1; 1 << 20]);
            }
        }
        "big" => {
            let bytes = payload["bytes"].as_u64().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
            Ok(yes([], &Value::String("x".repeat(bytes))))
        }
        "many" => Ok(yes((0..5_000).map(|_| added(1)), &Value::Null)),
        "random" => {
            let count = MEMORY.fetch_add(1, Ordering::Relaxed);
            Ok(yes([added(1)], &json!({ "random": count })))
        }
        "fault" => Err(fault("it cannot go on")),
        "bad_json" => {
            let event = NewEvent { data: b"{".to_vec(), ..added(1) };
            Ok(yes([event], &Value::Null))
        }
        "bad_type" => Ok(yes([event("ProbeVanished", 1, &Value::Null)], &Value::Null)),
        "poison" => Ok(yes([event("ProbePoisoned", 1, &json!({}))], &Value::Null)),
        "reject" => Ok(Outcome::Rejected(Rejection {
            kind: RejectionKind::Rejected,
            code: "not-today".into(),
            message: "not today".into(),
            errors: vec![FieldError { pointer: "/day".into(), detail: "is today".into() }],
        })),
        other => Err(fault(format!("unknown command `{other}`"))),
    }
}

fn forever() -> ! {
    loop {
        MEMORY.fetch_add(1, Ordering::Relaxed);
    }
}

fn added(by: i64) -> NewEvent {
    event("ProbeAdded", 2, &json!({ "by": by }))
}

fn event(name: &str, schema_version: u32, data: &Value) -> NewEvent {
    NewEvent { type_: name.into(), schema_version, data: data.to_string().into_bytes() }
}

fn yes(events: impl IntoIterator<Item = NewEvent>, result: &Value) -> Outcome {
    Outcome::Accepted(Accepted {
        events: events.into_iter().collect(),
        result: result.to_string().into_bytes(),
        changes: Changed { access: None, claims: None },
    })
}
