//! Whether servers start, come back and end.

use cairn_servers::{Postgres, Redis};

#[test]
fn postgres_survives_being_killed_and_keeps_its_port() {
    let mut server = Postgres::start();
    let url = server.database("one");
    assert!(url.ends_with("/one"));
    server.sql("one", "CREATE TABLE t (n int4); INSERT INTO t VALUES (7)");
    let port = server.port();
    server.kill9();
    server.restart();
    assert_eq!((server.port(), server.sql("one", "SELECT n FROM t")), (port, "7".to_owned()));
    assert_eq!(server.sql("one", "SHOW fsync"), "on");
    server.pause();
    server.cont();
    assert_eq!(server.sql("one", "SELECT 1"), "1");
}

#[test]
fn redis_comes_back() {
    let mut server = Redis::start();
    let port = server.port();
    server.kill9();
    server.restart();
    assert_eq!(server.port(), port);
    assert!(server.url().contains(&port.to_string()));
    server.pause();
}
