//! What policies remember.

use cairn_model::{Name, StreamRef, Timestamp};
use cairn_store::{Error, Reaction, ReactionCommand};
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
    store.record_reactions(&policy, 0, 3, vec![reaction(Some("{\"n\":1}"))]).await.expect("records");
    let again = store.record_reactions(&policy, 0, 3, vec![reaction(None)]).await;
    assert!(matches!(again, Err(Error::Fenced { expected: 0, actual: 3 })), "{again:?}");
    assert_eq!(store.policy_position(&policy).await.expect("reads"), 3);
    assert_eq!(store.outbox(&policy, 10).await.expect("reads").len(), 1);
    let state = store.policy_state(&policy, &stream(1)).await.expect("reads");
    assert_eq!(state.as_deref(), Some("{\"n\":1}"));
    let forget = Reaction { event: 4, stream: stream(1), state: None, commands: Vec::new() };
    store.record_reactions(&policy, 3, 9, vec![forget]).await.expect("records");
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
    store.record_reactions(&policy, 0, 2, vec![reaction, other]).await.expect("records");
    let ready = async || {
        let entries = store.outbox(&policy, 10).await.expect("reads");
        entries.iter().map(|entry| (entry.key.position, entry.key.index)).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, [(1, 0), (2, 0)]);
    assert_eq!(store.outbox_due_at(&policy).await.expect("reads"), Some(soon));
    let first = store.outbox(&policy, 1).await.expect("reads");
    store.complete(&[first[0].key.clone()]).await.expect("completes");
    assert_eq!(ready().await, [(2, 0)], "the first stage is not done");
    place.clock.advance_micros(60_000_000);
    assert_eq!(ready().await, [(1, 2), (2, 0)]);
    let waiting = store.outbox(&policy, 1).await.expect("reads");
    let later = Timestamp::from_micros(soon.micros() + 1);
    store.postpone(&waiting[0].key, later).await.expect("postpones");
    assert_eq!(ready().await, [(2, 0)]);
    place.clock.advance_micros(1);
    let again = store.outbox(&policy, 1).await.expect("reads");
    assert_eq!((again[0].key.index, again[0].attempts), (2, 1));
    store.complete(&[again[0].key.clone()]).await.expect("completes");
    assert_eq!(ready().await, [(1, 1), (1, 3), (2, 0)]);
}
