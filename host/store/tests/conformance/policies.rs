//! What policies remember.

use std::time::Duration;

use cairn_model::{Name, StreamRef, Timestamp};
use cairn_store::{Error, Fence, Reaction, ReactionCommand};
use uuid::Uuid;

use crate::place::{Place, local, stream};

fn command(stage: u32, target: StreamRef, at: Option<Timestamp>) -> ReactionCommand {
    ReactionCommand {
        stage,
        target,
        command: "delete".into(),
        payload: "{}".to_owned(),
        at,
        on_behalf_of: Some(Uuid::from_u128(5)),
        correlation_id: "c".to_owned(),
        depth: 1,
    }
}

pub async fn reactions_are_fenced_by_the_position(place: Place) {
    let store = place.open().await;
    let policy: Name = "files.cascade".into();
    let reaction = |state: Option<&str>| Reaction {
        event: 3,
        stream: stream(1),
        state: state.map(str::to_owned),
        commands: vec![command(0, local(2), None)],
    };
    assert_eq!(store.policy_position(&policy).await.expect("reads"), 0);
    store.record_reactions(&policy, 0, 3, vec![reaction(Some("{\"n\":1}"))], None).await.expect("records");
    let again = store.record_reactions(&policy, 0, 3, vec![reaction(None)], None).await;
    assert!(matches!(again, Err(Error::Fenced { expected: 0, actual: 3 })), "{again:?}");
    assert_eq!(store.policy_position(&policy).await.expect("reads"), 3);
    assert_eq!(store.outbox(&policy, 10).await.expect("reads").len(), 1);
    let state = store.policy_state(&policy, &stream(1)).await.expect("reads");
    assert_eq!(state.as_deref(), Some("{\"n\":1}"));
    let forget = Reaction { event: 4, stream: stream(1), state: None, commands: Vec::new() };
    store.record_reactions(&policy, 3, 9, vec![forget], None).await.expect("records");
    assert_eq!(store.policy_state(&policy, &stream(1)).await.expect("reads"), None);
    drop(store);
    let store = place.open().await;
    assert_eq!(store.policy_position(&policy).await.expect("reads"), 9);
    let kept = store.outbox(&policy, 10).await.expect("reads");
    assert_eq!(kept[0].command, command(0, local(2), None));
    assert_eq!((&*kept[0].tenant, kept[0].key.position, kept[0].key.index), ("default", 3, 0));
}

pub async fn stages_and_times_hold_commands_back(place: Place) {
    let store = place.open().await;
    let policy: Name = "files.cascade".into();
    let soon = Timestamp::from_micros(place.clock.now().micros() + 60_000_000);
    let commands = vec![
        command(0, local(1), None),
        command(1, local(2), None),
        command(0, local(3), Some(soon)),
        command(1, local(4), None),
    ];
    let reaction = Reaction { event: 1, stream: stream(1), state: None, commands };
    let other =
        Reaction { event: 2, stream: stream(1), state: None, commands: vec![command(7, local(5), None)] };
    store.record_reactions(&policy, 0, 2, vec![reaction, other], None).await.expect("records");
    let ready = async || {
        let entries = store.outbox(&policy, 10).await.expect("reads");
        entries.iter().map(|entry| (entry.key.position, entry.key.index)).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, [(1, 0), (2, 0)]);
    assert_eq!(store.outbox_due_at(&policy).await.expect("reads"), Some(soon));
    let first = store.outbox(&policy, 1).await.expect("reads");
    store.complete(&[first[0].key.clone()], None).await.expect("completes");
    assert_eq!(ready().await, [(2, 0)], "the first stage is not done");
    place.clock.advance_micros(60_000_000);
    assert_eq!(ready().await, [(1, 2), (2, 0)]);
    let waiting = store.outbox(&policy, 1).await.expect("reads");
    let later = Timestamp::from_micros(soon.micros() + 1);
    store.postpone(&waiting[0].key, later, None).await.expect("postpones");
    assert_eq!(ready().await, [(2, 0)]);
    place.clock.advance_micros(1);
    let again = store.outbox(&policy, 1).await.expect("reads");
    assert_eq!((again[0].key.index, again[0].attempts), (2, 1));
    store.complete(&[again[0].key.clone()], None).await.expect("completes");
    assert_eq!(ready().await, [(1, 1), (1, 3), (2, 0)]);
}

/// Whatever is written under a lease is refused once somebody else has it.
pub async fn a_lost_lease_cannot_be_written_under(place: Place) {
    let store = place.open().await;
    let (policy, lease): (Name, Name) = ("files.cascade".into(), "policy/files.cascade".into());
    let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let hour = Duration::from_secs(3600);
    let epoch = store.lease(&lease, first, hour).await.expect("asks").expect("nobody has it");
    assert_eq!(store.lease(&lease, first, hour).await.expect("asks"), Some(epoch), "lengthened");
    let old = Fence { lease: lease.clone(), epoch };
    let reaction =
        Reaction { event: 1, stream: stream(1), state: None, commands: vec![command(0, local(2), None)] };
    store.record_reactions(&policy, 0, 1, vec![reaction.clone()], Some(&old)).await.expect("records");
    let entry = store.outbox(&policy, 1).await.expect("reads")[0].key.clone();
    store.release(&lease, second).await.expect("releases nothing");
    store.postpone(&entry, Timestamp::from_micros(1), Some(&old)).await.expect("postpones");
    store.release(&lease, first).await.expect("releases");
    let next = store.lease(&lease, second, hour).await.expect("asks").expect("it is free");
    assert!(next > epoch);
    let lost = |result: Result<(), Error>| match result {
        Err(Error::Superseded { lease, epoch }) => assert_eq!((lease, epoch), (old.lease.clone(), old.epoch)),
        other => panic!("{other:?}"),
    };
    lost(store.record_reactions(&policy, 1, 2, vec![reaction], Some(&old)).await);
    lost(store.complete(std::slice::from_ref(&entry), Some(&old)).await);
    lost(store.postpone(&entry, Timestamp::from_micros(2), Some(&old)).await);
    assert_eq!(store.policy_position(&policy).await.expect("reads"), 1);
    assert_eq!(store.outbox(&policy, 9).await.expect("reads").len(), 1);
    let new = Fence { lease, epoch: next };
    store.complete(&[entry], Some(&new)).await.expect("completes");
    assert!(store.outbox(&policy, 9).await.expect("reads").is_empty());
}
