//! A plugin that misbehaves on request, written by hand against the contract. Its one aggregate, `probe`, counts; its
//! commands loop, trap, eat memory, lie, forget that they should be functions. Tests of the host call them.

mod bindings {
    //! The contract as Rust types. Generated.
    #![expect(unsafe_code, reason = "what is generated passes values through linear memory")]

    wit_bindgen::generate!({
        path: "../../../wit",
        world: "plugin",
        generate_all,
    });

    use super::Faulty;
    export!(Faulty);
}

mod describe;
mod probe;
mod read;

use bindings::cairn::plugin::types::{self, Event, Fault, NewEvent};
use bindings::exports::cairn::plugin::{aggregates, manifest, policies, projections, queries, upcasting};

struct Faulty;

impl manifest::Guest for Faulty {
    fn describe() -> manifest::Manifest {
        describe::manifest()
    }
}

impl aggregates::Guest for Faulty {
    type Aggregate = probe::Resident;
}

impl upcasting::Guest for Faulty {
    /// `ProbeAdded` had another name for its number in version 1, `ProbeAddedTwice` was two events in one, and
    /// `ProbeSeen` turned out to be no event.
    fn upcast(events: Vec<Event>) -> Result<Vec<Vec<NewEvent>>, Fault> {
        events.iter().map(upcast).collect()
    }
}

fn upcast(event: &Event) -> Result<Vec<NewEvent>, Fault> {
    let data: serde_json::Value =
        serde_json::from_slice(&event.data).map_err(|error| fault(error.to_string()))?;
    let added = |field: &str| NewEvent {
        type_: "ProbeAdded".to_owned(),
        schema_version: 2,
        data: serde_json::json!({ "by": data[field] }).to_string().into_bytes(),
    };
    match event.type_.as_str() {
        "ProbeAdded" => Ok(vec![added("n")]),
        "ProbeAddedTwice" => Ok(vec![added("first"), added("second")]),
        "ProbeSeen" => Ok(Vec::new()),
        other => Err(fault(format!("`{other}` was never an event of this plugin"))),
    }
}

impl projections::Guest for Faulty {
    fn project(projection: String, events: Vec<Event>) -> Vec<Result<Vec<projections::Change>, Fault>> {
        read::project(&projection, &events)
    }
}

impl queries::Guest for Faulty {
    fn query(
        context: queries::Context,
        query: String,
        params: Vec<u8>,
        answers: Vec<queries::Rows>,
    ) -> Result<queries::QueryOutcome, Fault> {
        read::query(&context, &query, params, &answers)
    }
}

impl policies::Guest for Faulty {
    fn react(
        _: policies::Context,
        _: String,
        event: Event,
        state: Option<Vec<u8>>,
        answers: Vec<policies::Rows>,
    ) -> Result<policies::PolicyOutcome, Fault> {
        Ok(read::react(&event, state, &answers))
    }
}

fn text(id: types::Uuid) -> String {
    uuid::Uuid::from_u64_pair(id.high, id.low).to_string()
}

fn id(text: &str) -> Result<types::Uuid, Fault> {
    let id = uuid::Uuid::try_parse(text).map_err(|_| fault(format!("`{text}` is no UUID")))?;
    let (high, low) = id.as_u64_pair();
    Ok(types::Uuid { high, low })
}

fn fault(message: impl Into<String>) -> Fault {
    Fault { message: message.into() }
}
