//! The glue between a plugin and the contract, called natively as a host calls the component.

use cairn_sdk::bindings::cairn::plugin::types as wit;
use cairn_sdk::bindings::exports::cairn::plugin::{manifest, policies, projections, queries, upcasting};
use cairn_sdk::plugin::Plugin;
use cairn_sdk::prelude::*;
use cairn_sdk::testing::{ID, InMemoryRepository, RepositoryError, context, given, principal, user};

#[derive(DomainEvent, Clone, Debug, PartialEq)]
enum CounterEvent {
    /// Somebody began to count.
    CounterMade {},
    /// Something was counted.
    #[event(version = 3)]
    CounterRaised {
        /// How many.
        by: u32,
    },
}

/// Makes a counter.
#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "make", full_name = "make_counter", creates)]
#[serde(deny_unknown_fields)]
struct MakeCounter {}

/// Counts.
#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "raise", full_name = "raise_counter", permission = "write", response = u32)]
#[serde(deny_unknown_fields)]
struct RaiseCounter {
    by: u32,
}

/// Counts what other counters have.
#[derive(Command, Serialize, Deserialize, JsonSchema)]
#[command(name = "add_others", full_name = "add_other_counters")]
#[serde(deny_unknown_fields)]
struct AddOthers {
    ids: Vec<Uuid>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Counter {
    id: Uuid,
    count: u32,
    #[serde(skip)]
    root: Root<CounterEvent>,
}

impl Entity for Counter {
    fn id(&self) -> Uuid {
        self.id
    }

    fn created_at(&self) -> Timestamp {
        Timestamp::default()
    }

    fn updated_at(&self) -> Timestamp {
        Timestamp::default()
    }
}

impl AggregateRoot for Counter {
    type Event = CounterEvent;
    const NAME: &'static str = "counter";
    const DESCRIPTION: &'static str = "Something that counts.";

    fn new(id: Uuid) -> Self {
        Self { id, count: 0, root: Root::default() }
    }

    fn root(&self) -> &Root<CounterEvent> {
        &self.root
    }

    fn root_mut(&mut self) -> &mut Root<CounterEvent> {
        &mut self.root
    }

    fn apply(&mut self, event: &EventEnvelope<CounterEvent>) {
        if let CounterEvent::CounterRaised { by } = event.event {
            self.count += by;
        }
    }

    fn access(&self) -> Option<Access> {
        Some(Access { owner: Some(user(1)), ..Access::default() })
    }
}

impl CommandHandler<MakeCounter> for Counter {
    fn handle(&self, _: &MakeCounter, _: &Context) -> Handled<Self, MakeCounter> {
        Ok(Decision::event(CounterEvent::CounterMade {}))
    }
}

impl CommandHandler<RaiseCounter> for Counter {
    fn handle(&self, command: &RaiseCounter, ctx: &Context) -> Handled<Self, RaiseCounter> {
        let mut copy = self.clone();
        copy.record(CounterEvent::CounterRaised { by: command.by }, ctx);
        Ok(Decision::recorded(&copy).with_result(copy.count))
    }
}

impl CommandHandler<AddOthers> for Counter {
    fn handle(&self, command: &AddOthers, ctx: &Context) -> Handled<Self, AddOthers> {
        let first = ctx.load::<Self>(command.ids[0])?.state.count;
        let all = ctx.load_all::<Self>(&command.ids)?;
        let by = all.iter().map(|other| other.state.count).sum::<u32>();
        assert!(by >= first);
        Ok(Decision::event(CounterEvent::CounterRaised { by }))
    }
}

/// Version 1 named the number otherwise.
struct RaisedV1;

impl Upcaster for RaisedV1 {
    const EVENT_TYPE: &'static str = "CounterRaised";
    const SCHEMA_VERSION: u32 = 1;

    fn upcast(mut event: PastEvent) -> Result<Vec<PastEvent>, Fault> {
        let number = event.data["number"].take();
        Ok(vec![PastEvent {
            schema_version: 2,
            data: serde_json::json!({ "number": number, "twice": true }),
            ..event
        }])
    }
}

/// Version 2 could count twice in one event.
struct RaisedV2;

impl Upcaster for RaisedV2 {
    const EVENT_TYPE: &'static str = "CounterRaised";
    const SCHEMA_VERSION: u32 = 2;

    fn upcast(event: PastEvent) -> Result<Vec<PastEvent>, Fault> {
        let by = &event.data["number"];
        let once = PastEvent { schema_version: 3, data: serde_json::json!({ "by": by }), ..event.clone() };
        Ok(vec![once; if event.data["twice"] == true { 2 } else { 1 }])
    }
}

const COUNTERS: Table = Table {
    name: "counters",
    columns: &[Column::uuid("id"), Column::integer("events")],
    key: &["id"],
    indexes: &[],
};

const COUNT: Statement =
    Statement::read("count", "SELECT count(*) FROM counters", &[], &[Column::integer("number")]);

struct Counters;

impl Projection for Counters {
    const NAME: &'static str = "counters";
    const VERSION: u32 = 1;
    const TABLES: &'static [Table] = &[COUNTERS];
    const STATEMENTS: &'static [Statement] = &[COUNT];
    const CROSSES_STREAMS: bool = false;

    fn events() -> Vec<&'static str> {
        Vec::new()
    }

    fn project(event: &RecordedEvent, changes: &mut Changes) -> Result<(), Fault> {
        event.decode::<CounterEvent>()?;
        changes.put(&COUNTERS, [event.stream.id.into(), event.version.into()]);
        Ok(())
    }
}

/// How many counters there are.
#[derive(Query, Deserialize, JsonSchema)]
#[query(name = "how_many", response = u64)]
#[serde(deny_unknown_fields)]
struct HowMany {}

impl QueryHandler<HowMany> for Counters {
    fn handle(_: &HowMany, _: &Context, db: &Db) -> Result<u64> {
        let first: Vec<u64> = db.select(&COUNT, [])?.read(|row| row.take())?;
        let [second, third] = db.select_each([COUNT.call([]), COUNT.call([])])?;
        Ok(first[0] + second.len() as u64 + third.len() as u64)
    }
}

struct StartsAtOne;

impl Policy for StartsAtOne {
    type State = u32;
    type Reads = NoProjection;
    const NAME: &'static str = "starts_at_one";
    const DESCRIPTION: &'static str = "Raises every new counter once.";
    const EVENTS: &'static [&'static str] = &["CounterMade"];

    fn react(event: &RecordedEvent, state: Option<u32>, _: &Context, _: &Db) -> Result<Reaction<u32>> {
        let mut reaction = Reaction::none().remember(state.unwrap_or(0) + 1);
        reaction.send::<Counter, _>(event.stream.id, &RaiseCounter { by: 1 }, 0)?;
        Ok(reaction)
    }
}

cairn_sdk::plugin! {
    name: "counters",
    aggregates: [Counter { commands: [MakeCounter, RaiseCounter, AddOthers] }],
    projections: [Counters { queries: [HowMany] }],
    policies: [StartsAtOne],
    upcasters: [RaisedV1, RaisedV2],
}

fn event(event_type: &str, schema_version: u32, data: &str) -> wit::Event {
    wit::Event {
        position: 1,
        aggregate: "counter".to_owned(),
        id: wit_id(ID),
        version: 1,
        type_: event_type.to_owned(),
        schema_version,
        data: data.as_bytes().to_vec(),
        occurred_at: 0,
        actor: wit_id(user(1)),
    }
}

fn wit_id(id: Uuid) -> wit::Uuid {
    let (high, low) = id.as_u64_pair();
    wit::Uuid { high, low }
}

fn wit_context() -> wit::Context {
    wit::Context {
        now: 0,
        seed: (0, 0),
        tenant: "default".to_owned(),
        principal: wit::Principal { id: wit_id(user(1)), groups: Vec::new() },
        on_behalf_of: None,
        permissions: wit::Permissions::all(),
        command_id: wit_id(ID),
        correlation_id: None,
        causation_id: None,
    }
}

#[test]
fn the_manifest_is_made_of_the_types() {
    let manifest = <CairnPlugin as manifest::Guest>::describe();
    assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("counters", env!("CARGO_PKG_VERSION")));
    let commands = &manifest.aggregates[0].commands;
    let seen: Vec<_> = commands.iter().map(|c| (c.name.as_str(), c.full_name.as_str(), c.creates)).collect();
    assert_eq!(
        seen,
        [
            ("make", "make_counter", true),
            ("raise", "raise_counter", false),
            ("add_others", "add_other_counters", false),
        ]
    );
    assert_eq!(commands[1].permission, Some(manifest::Permission::Write));
    let schema: serde_json::Value = serde_json::from_slice(&commands[1].schema).expect("JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let raised = &manifest.aggregates[0].events[1];
    assert_eq!((raised.name.as_str(), raised.schema_version), ("CounterRaised", 3));
    assert_eq!(raised.description, "Something was counted.");
    assert_eq!(manifest.policies[0].projection, None);
    assert_eq!(manifest.queries[0].projection, "counters");
    assert_eq!(CairnPlugin::UPCASTERS.len(), 2);
}

#[test]
fn old_events_become_present_ones_step_by_step() {
    let events = vec![event("CounterRaised", 1, r#"{"number":4}"#), event("CounterMade", 1, "{}")];
    let present = <CairnPlugin as upcasting::Guest>::upcast(events).expect("upcast");
    let seen: Vec<Vec<(String, u32, String)>> = present
        .iter()
        .map(|all| {
            let text = |event: &'_ wit::NewEvent| -> (String, u32, String) {
                let data = String::from_utf8(event.data.clone()).expect("UTF-8");
                (event.type_.clone(), event.schema_version, data)
            };
            all.iter().map(text).collect()
        })
        .collect();
    let one = |name: &str, version, data: &str| (name.to_owned(), version, data.to_owned());
    let raised = || one("CounterRaised", 3, r#"{"by":4}"#);
    assert_eq!(seen, [vec![raised(), raised()], vec![one("CounterMade", 1, "{}")]]);
    let unknown = <CairnPlugin as upcasting::Guest>::upcast(vec![event("CounterLost", 1, "{}")]);
    assert!(unknown.expect_err("a fault").message.contains("CounterLost"));
}

#[test]
fn one_bad_event_does_not_spoil_the_others_of_its_batch() {
    let events =
        vec![event("CounterMade", 1, "{}"), event("CounterRaised", 3, "{}"), event("CounterMade", 1, "{}")];
    let changes = <CairnPlugin as projections::Guest>::project("counters".to_owned(), events);
    assert_eq!(changes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_query_is_called_until_it_has_its_rows() {
    let rows = || wit::Rows { rows: vec![vec![wit::Value::Integer(5)]] };
    let ask = |answers| {
        let name = "how_many".to_owned();
        <CairnPlugin as queries::Guest>::query(wit_context(), name, b"{}".to_vec(), answers)
            .expect("no fault")
    };
    let wanted = |outcome| match outcome {
        queries::QueryOutcome::Read(calls) => calls.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(wanted(ask(vec![])), 1);
    assert_eq!(wanted(ask(vec![rows()])), 2);
    let done = ask(vec![rows(), rows(), rows()]);
    assert!(matches!(done, queries::QueryOutcome::Done(json) if json == b"7"));
}

#[test]
fn wrong_parameters_are_invalid_and_unknown_names_are_faults() {
    let ask = |name: &str, params: &[u8]| {
        <CairnPlugin as queries::Guest>::query(wit_context(), name.to_owned(), params.to_vec(), vec![])
    };
    let no = ask("how_many", br#"{"x":1}"#).expect("no fault");
    assert!(matches!(no, queries::QueryOutcome::Rejected(no) if no.kind == wit::RejectionKind::Invalid));
    assert!(ask("nothing", b"{}").is_err());
}

#[test]
fn a_policy_sends_commands_and_remembers() {
    let react = <CairnPlugin as policies::Guest>::react(
        wit_context(),
        "starts_at_one".to_owned(),
        event("CounterMade", 1, "{}"),
        Some(b"1".to_vec()),
        vec![],
    );
    let Ok(policies::PolicyOutcome::Done(reaction)) = react else { panic!("{react:?}") };
    assert_eq!(reaction.state.as_deref(), Some(&b"2"[..]));
    assert_eq!(reaction.commands[0].command, "raise");
    assert_eq!(reaction.commands[0].payload, br#"{"by":1}"#);
}

#[test]
fn several_aggregates_are_loaded_at_once_and_what_was_asked_is_not_asked_again() {
    let (one, two) = (Uuid::from_u128(11), Uuid::from_u128(12));
    let counter = |by| [CounterEvent::CounterMade {}, CounterEvent::CounterRaised { by }];
    let scenario = || given::<Counter>([CounterEvent::CounterMade {}]).with::<Counter>(one, counter(3));
    scenario()
        .with::<Counter>(two, counter(4))
        .when(AddOthers { ids: vec![one, two] })
        .then([CounterEvent::CounterRaised { by: 7 }]);
    scenario().when(AddOthers { ids: vec![one, two] }).then_not_found();
}

#[test]
fn a_repository_finds_what_was_saved_and_notices_that_somebody_was_faster() {
    let ctx = context(principal(user(1)));
    let mut repository = InMemoryRepository::default();
    let mut mine = Counter::new(ID);
    mine.record(CounterEvent::CounterMade {}, &ctx);
    mine.record(CounterEvent::CounterRaised { by: 2 }, &ctx);
    assert_eq!(mine.uncommitted_events().len(), 2);
    repository.save(&mut mine, &ctx).expect("saved");
    assert!(mine.uncommitted_events().is_empty());
    let mut theirs: Counter = repository.find_by_id(ID).expect("read").expect("there");
    assert_eq!((theirs.version(), theirs.count), (2, 2));
    theirs.record(CounterEvent::CounterRaised { by: 1 }, &ctx);
    repository.save(&mut theirs, &ctx).expect("saved");
    mine.record(CounterEvent::CounterRaised { by: 1 }, &ctx);
    let late = repository.save(&mut mine, &ctx);
    assert_eq!(late, Err(RepositoryError::VersionConflict { expected: 2, present: 3 }));
}
