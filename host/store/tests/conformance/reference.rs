//! Batches against the simplest model of the log there is: one command after the other on maps.

use std::collections::HashMap;

use cairn_model::{Access, Lineage, Read, Version};
use cairn_store::{Append, Outcome, Stale};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::place::{Place, Saying, append, stream, together};

/// A random command over few streams, claims and keys, so that they meet.
#[derive(Clone, Debug)]
struct Command {
    stream: u128,
    /// How far the expected version is from the present one; mostly not at all.
    off: u64,
    events: usize,
    read: Option<(u128, u64, bool)>,
    take: Option<u8>,
    release: Option<u8>,
    access: bool,
    key: Option<(u8, bool)>,
    lineage: Option<usize>,
    record: bool,
}

fn rarely<T: std::fmt::Debug + Clone + 'static>(
    strategy: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.3, strategy)
}

fn command() -> impl Strategy<Value = Command> {
    let first = (0..4u128, prop_oneof![9 => Just(0u64), 1 => 1..3u64], 0..3usize);
    let second =
        (rarely((0..4u128, prop_oneof![9 => Just(0u64), 1 => Just(1u64)], any::<bool>())), rarely(0..3u8));
    let third = (rarely(0..3u8), any::<bool>(), rarely((0..3u8, prop::bool::weighted(0.8))));
    (first, second, third, rarely(0..3usize), any::<bool>()).prop_map(
        |((stream, off, events), (read, take), (release, access, key), lineage, record)| Command {
            stream,
            off,
            events,
            read,
            take,
            release,
            access,
            key,
            lineage,
            record,
        },
    )
}

#[derive(Default)]
struct Model {
    versions: HashMap<u128, Version>,
    access: HashMap<u128, Version>,
    claims: HashMap<String, u128>,
    keys: HashMap<u8, bool>,
    broken: [bool; 3],
    position: u64,
}

impl Model {
    /// The append that the command would be decided to now, if nobody were in between.
    fn decide(&self, command: &Command, lineages: &[Lineage; 3]) -> Append {
        let version = self.version(command.stream);
        let mut new = append(stream(command.stream), version + command.off).events(command.events);
        if let Some((other, off, of_access)) = command.read {
            new = new.reading(if of_access {
                Read::Access(stream(other), self.access.get(&other).copied().unwrap_or(0) + off)
            } else {
                Read::Stream(stream(other), self.version(other) + off)
            });
        }
        if let Some(claim) = command.take {
            new = new.taking(&format!("claim {claim}"));
        }
        if let Some(claim) = command.release {
            new = new.releasing(&format!("claim {claim}"));
        }
        if command.access && command.events > 0 {
            new = new.with_access(Access::default());
        }
        if let Some((key, payload)) = command.key {
            new = new.with_key(&format!("key {key}"), if payload { "p" } else { "q" });
        }
        if let Some(lineage) = command.lineage {
            new = new.in_lineage(&lineages[lineage]);
        }
        new.record_unchanged = command.record;
        new
    }

    fn version(&self, stream: u128) -> Version {
        self.versions.get(&stream).copied().unwrap_or(0)
    }

    /// What becomes of it, in one word, and of the model with it.
    fn judge(&mut self, command: &Command, decided: &Append) -> String {
        let word = self.verdict(command, decided);
        let refused = !word.starts_with("committed") && word != "current";
        if refused
            && (command.events > 0 || word.starts_with("stale"))
            && let Some(lineage) = command.lineage
        {
            self.broken[lineage] = true;
        }
        word
    }

    fn verdict(&mut self, command: &Command, decided: &Append) -> String {
        if command.lineage.is_some_and(|lineage| self.broken[lineage]) {
            return "stale lineage".to_owned();
        }
        if let Some((key, payload)) = command.key
            && let Some(first) = self.keys.get(&key)
        {
            return if *first == payload { "replayed".to_owned() } else { "key reused".to_owned() };
        }
        if decided.expected != self.version(command.stream) {
            return format!("stale version {}", self.version(command.stream));
        }
        for read in &decided.reads {
            let holds = match read {
                Read::Stream(other, version) => self.version(other.id.as_u128()) == *version,
                Read::Access(other, version) => {
                    self.access.get(&other.id.as_u128()).copied().unwrap_or(0) == *version
                }
            };
            if !holds {
                return "stale read".to_owned();
            }
        }
        if command.events == 0 {
            if !command.record {
                return "current".to_owned();
            }
        } else {
            for claim in &decided.claims.take {
                if self.claims.get(claim).is_some_and(|holder| *holder != command.stream) {
                    return "claimed".to_owned();
                }
            }
            self.accept(command, decided);
        }
        if let Some((key, payload)) = command.key {
            self.keys.insert(key, payload);
        }
        format!("committed {}", self.version(command.stream))
    }

    fn accept(&mut self, command: &Command, decided: &Append) {
        let version = self.version(command.stream) + command.events as u64;
        self.versions.insert(command.stream, version);
        self.position += command.events as u64;
        if decided.access.is_some() {
            self.access.insert(command.stream, version);
        }
        for claim in &decided.claims.release {
            if self.claims.get(claim) == Some(&command.stream) {
                self.claims.remove(claim);
            }
        }
        for claim in &decided.claims.take {
            self.claims.insert(claim.clone(), command.stream);
        }
    }
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Committed(committed) if committed.replayed => "replayed".to_owned(),
        Outcome::Committed(committed) => format!("committed {}", committed.version),
        Outcome::Current(_) => "current".to_owned(),
        Outcome::Stale(Stale::Version { actual }) => format!("stale version {actual}"),
        Outcome::Stale(Stale::Read(_)) => "stale read".to_owned(),
        Outcome::Stale(Stale::Turn { .. }) => "somebody else's turn".to_owned(),
        Outcome::Stale(Stale::Lineage) => "stale lineage".to_owned(),
        Outcome::Claimed { .. } => "claimed".to_owned(),
        Outcome::KeyReused => "key reused".to_owned(),
        other => format!("{other:?}"),
    }
}

pub async fn random_batches_equal_single_commands(first: Place) {
    let mut runner = TestRunner::default();
    for case in 0..first.either(60, 15) {
        let place = first.fresh();
        let mut store = place.open().await;
        let mut model = Model::default();
        let lineages = <[Lineage; 3]>::default();
        let batches = vec(vec(command(), 1..12), 1..8).new_tree(&mut runner).expect("commands").current();
        for (number, batch) in batches.iter().enumerate() {
            let mut appends = Vec::new();
            let mut expected = Vec::new();
            for command in batch {
                let decided = model.decide(command, &lineages);
                expected.push(model.judge(command, &decided));
                appends.push(decided);
            }
            let outcomes = together(&store, appends).await;
            let found: Vec<String> = outcomes.iter().map(word).collect();
            assert_eq!(found, expected, "case {case}, batch {number} of {batches:#?}");
            assert_eq!(store.head(), model.position);
            if number % 3 == 2 {
                drop(store);
                store = place.open().await;
            }
        }
        assert!(store.verify(0).await.expect("verifies").valid);
    }
}
