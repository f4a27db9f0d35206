//! Only on PostgreSQL: schemas that somebody drops, hosts that share one, and the login of queries.

use cairn_store::{ApplyError, Error, PostgresOptions};

use crate::support::*;

pub async fn whatever_is_dropped_comes_back(place: Place) {
    let (store, model) = place.with(&small(vec![all_things(), listing()])).await;
    fill_log(&store, 1).await;
    let losses = [
        "DROP SCHEMA read_things CASCADE",
        "DROP TABLE read_things.things CASCADE",
        "DROP TABLE read_things.projection_positions",
        "DELETE FROM read_things.projection_positions",
        "ALTER TABLE read_things.things DROP COLUMN name CASCADE",
    ];
    for loss in losses {
        model.apply(vec![put(1, "a")], 0, 1).await.expect("applies");
        assert_eq!(things(&model).await, ["1=a"], "{loss}");
        place.sql(loss);
        let fenced = model.apply(vec![put(2, "b")], 1, 2).await;
        assert!(matches!(fenced, Err(ApplyError::Fenced { expected: 1, actual: 0 })), "{loss}: {fenced:?}");
        model.apply(vec![put(1, "a")], 0, 1).await.expect("applies");
        place.sql(loss);
        assert_eq!(
            model.position().await.expect("a position"),
            if loss.contains(".things") { 1 } else { 0 },
            "{loss}"
        );
        assert_eq!(things_or_none(&model).await, [""; 0], "{loss}");
        assert_eq!(model.position().await.expect("a position"), 0, "{loss}");
        assert_eq!(place.sql("SELECT count(*) FROM public.things"), "0", "{loss}");
    }
    // What the host has besides: nothing of the tables is lost with it.
    model.apply(vec![put(1, "a")], 0, 1).await.expect("applies");
    for loss in [
        "DROP SCHEMA cairn CASCADE",
        "DROP VIEW cairn.readable",
        "UPDATE cairn.query_login SET secret = '\\x00'",
        "DROP FUNCTION cairn.substr(text, int8)",
        "REVOKE ALL ON ALL TABLES IN SCHEMA read_things FROM PUBLIC, \"cairn_query_$\"",
        "REVOKE ALL ON cairn.readable FROM \"cairn_query_$\"",
    ] {
        let role = place.sql("SELECT role FROM cairn.query_login");
        place.sql(&loss.replace("cairn_query_$", &role));
        let rows = ask(&model, "listing", Vec::new()).await.expect("rows");
        assert_eq!(rows.len(), 1, "{loss}");
        assert_eq!(things(&model).await, ["1=a"], "{loss}");
    }
}

/// A session may find out only while it reads that a table is gone.
async fn things_or_none(model: &cairn_store::ReadModel) -> Vec<String> {
    match ask(model, "all_things", Vec::new()).await {
        Ok(rows) => rows.iter().map(|row| format!("{row:?}")).collect(),
        Err(cairn_store::ReadError::Store(Error::Fenced { actual: 0, .. })) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

fn listing() -> cairn_model::manifest::Statement {
    let sql = "SELECT count(*) AS n FROM readable WHERE substr('abc', 2) = 'bc'";
    read("listing", sql, Vec::new(), vec![column("n", cairn_model::manifest::ColumnType::Integer)])
}

pub async fn two_hosts_share_a_read_model(place: Place) {
    let (store, model) = place.with(&small(vec![all_things()])).await;
    fill_log(&store, 3).await;
    let other = place.another_host();
    let (_second_store, second) = other.with(&small(vec![all_things()])).await;
    model.apply_under(1, vec![put(1, "a")], 0, 1).await.expect("applies");
    assert_eq!(things(&second).await, ["1=a"]);
    second.apply_under(2, vec![put(2, "b")], 1, 2).await.expect("applies");
    let late = model.apply_under(1, vec![put(3, "c")], 1, 2).await;
    assert!(matches!(late, Err(ApplyError::Superseded { epoch: 1, actual: 2 })), "{late:?}");
    // Both at once: one of them wins, and nothing is there twice.
    let (a, b) = tokio::join!(model.apply(vec![put(3, "c")], 2, 3), second.apply(vec![put(3, "c")], 2, 3));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    // Other declarations on one of them: the other one stands still.
    second.close().await.expect("closes");
    let mut changed = small(vec![all_things()]);
    changed.version = 2;
    let changed = _second_store.open_read_model(&changed).await.expect("opens");
    let replaced = model.apply(vec![put(4, "d")], 3, 3).await;
    assert!(matches!(replaced, Err(ApplyError::Replaced)), "{replaced:?}");
    changed.apply(vec![put(4, "d")], 0, 3).await.expect("applies");
}

pub async fn a_strangers_schema_and_names_are_left_alone(place: Place) {
    let store = place.open().await;
    place.sql("CREATE TABLE public.things (mine int); INSERT INTO public.things VALUES (7)");
    place.sql("CREATE SCHEMA read_things; CREATE TABLE read_things.keep (a int)");
    let refused = store.open_read_model(&small(vec![all_things()])).await;
    assert!(matches!(refused, Err(Error::Damaged(_))), "{refused:?}");
    place.sql("DROP SCHEMA read_things CASCADE");
    store.open_read_model(&small(vec![all_things()])).await.expect("opens");
    assert_eq!(place.sql("SELECT mine FROM public.things"), "7");
    assert_eq!(place.sql("SELECT count(*) FROM public.links"), "0");
}

pub async fn without_a_login_for_queries_the_store_does_not_open(place: Place) {
    place.sql("DROP ROLE IF EXISTS poor; CREATE ROLE poor LOGIN; GRANT ALL ON SCHEMA public TO poor");
    place
        .sql("DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO poor', current_database()); END $$");
    let complaint = |opened: Result<cairn_store::Store, Error>| match opened {
        Err(Error::QueryLogin(complaint)) => complaint,
        other => panic!("{other:?}"),
    };
    let refused = complaint(place.try_open(place.settings("poor")).await);
    assert!(refused.contains("CREATEROLE"), "{refused}");
    let with = |user: &str, query_user: &str| {
        let query_url = place.settings(query_user).map(|settings| settings.url);
        place.settings(user).map(|settings| PostgresOptions { query_url, ..settings })
    };
    let refused = complaint(place.try_open(with("poor", "poor")).await);
    assert!(refused.contains("not a login of its own"), "{refused}");
    let refused = complaint(place.try_open(with("poor", "cairn")).await);
    assert!(refused.contains("administer"), "{refused}");
    place.sql("DROP ROLE IF EXISTS nosy; CREATE ROLE nosy LOGIN; GRANT SELECT ON public.event_store TO nosy");
    let refused = complaint(place.try_open(with("poor", "nosy")).await);
    assert!(refused.contains("event_store"), "{refused}");
    place.sql("REVOKE SELECT ON public.event_store FROM nosy");
    let store = place.try_open(with("poor", "nosy")).await.expect("opens");
    let model = store.open_read_model(&small(vec![all_things()])).await.expect("opens");
    model.apply(vec![put(1, "a")], 0, 0).await.expect("applies");
    assert_eq!(things(&model).await, ["1=a"]);
}

pub async fn the_login_of_queries_reaches_nothing_else(place: Place) {
    let (_store, model) = place.with(&small(vec![all_things(), listing()])).await;
    model.apply(vec![put(1, "a")], 0, 0).await.expect("applies");
    let role = place.sql("SELECT role FROM cairn.query_login");
    let refused = [
        "SELECT * FROM public.event_store",
        "SELECT * FROM public.access",
        "SELECT * FROM public.access_keys",
        "SELECT * FROM public.claims",
        "SELECT * FROM public.things",
        "SELECT * FROM public.read_models",
        "SELECT * FROM read_things.dead_letters",
        "SELECT * FROM cairn.query_login",
        "SELECT * FROM cairn.readable",
        "SELECT set_config('cairn.caller', '{\"unbounded\":true}', true), set_config('cairn.seal', 'x', true), (SELECT count(*) FROM cairn.readable)",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
        "SELECT rolpassword FROM pg_authid",
        "INSERT INTO read_things.things VALUES (2, 'x')",
        "DELETE FROM read_things.things",
        "UPDATE read_things.projection_positions SET position = 7",
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "DROP TABLE read_things.things",
        "COPY read_things.things TO PROGRAM 'true'",
        "SET ROLE cairn",
    ];
    for sql in refused {
        assert!(place.sql_as(&role, sql).await.is_err(), "{sql}");
    }
    assert_eq!(place.sql_as(&role, "SELECT name FROM read_things.things").await.expect("reads"), "a");
}
