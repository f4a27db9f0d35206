//! The read model of a real plugin, files in folders with a closure table, over random histories: both databases end with
//! the same rows and answer the same to two callers, one of whom may read little.

use std::collections::BTreeMap;

use cairn_model::manifest::{Column, ColumnType, Projection, Statement};
use cairn_model::{Access, AccessEntry, Change, Permission, Principal, StreamRef, Subject, Timestamp, Value};
use cairn_store::{ReadModel, Store};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use uuid::Uuid;

use crate::readable::{set_access_of, somebody};
use crate::support::*;

const ITEM: &str = "SELECT v.id, v.kind, v.name, v.parent_id, v.version, v.is_deleted, v.deleted_at, v.updated_at \
     FROM file_views AS v JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id ";

fn uuid(name: &str) -> Column {
    column(name, ColumnType::Uuid)
}

fn text(name: &str) -> Column {
    column(name, ColumnType::Text)
}

fn integer(name: &str) -> Column {
    column(name, ColumnType::Integer)
}

fn time(name: &str) -> Column {
    column(name, ColumnType::Timestamp)
}

fn item_columns() -> Vec<Column> {
    vec![
        uuid("id"),
        text("kind"),
        text("name"),
        nullable("parent_id", ColumnType::Uuid),
        integer("version"),
        column("is_deleted", ColumnType::Boolean),
        nullable("deleted_at", ColumnType::Timestamp),
        time("updated_at"),
    ]
}

/// Changes columns of items that exist; the latest of several calls for one item counts.
fn update(name: &str, set: &str, columns: &str, params: Vec<Column>) -> Statement {
    let sql = format!(
        "UPDATE file_views SET {set}version = i.version, updated_at = i.changed_at FROM (SELECT id, version, changed_at{columns}, \
         row_number() OVER (PARTITION BY id ORDER BY version DESC) AS age FROM input) AS i \
         WHERE i.age = 1 AND file_views.id = i.id"
    );
    batched(name, &sql, [vec![uuid("id"), integer("version"), time("changed_at")], params].concat())
}

fn writes() -> Vec<Statement> {
    let tree_insert = "INSERT INTO folder_tree (ancestor, descendant, depth) \
        WITH RECURSIVE up(descendant, ancestor, depth) AS ( \
          SELECT child, parent, 1 FROM input WHERE parent IS NOT NULL \
          UNION ALL \
          SELECT up.descendant, i.parent, up.depth + 1 FROM up JOIN input AS i ON i.child = up.ancestor \
          WHERE i.parent IS NOT NULL \
        ) \
        SELECT child, child, 0 FROM input \
        UNION ALL \
        SELECT up.ancestor, up.descendant, up.depth FROM up JOIN input AS i ON i.child = up.ancestor \
        UNION ALL \
        SELECT t.ancestor, up.descendant, up.depth + t.depth FROM up JOIN folder_tree AS t ON t.descendant = up.ancestor";
    let unlink = "DELETE FROM folder_tree \
        WHERE descendant IN (SELECT below.descendant FROM folder_tree AS below WHERE below.ancestor = $1) \
        AND ancestor NOT IN (SELECT kept.descendant FROM folder_tree AS kept WHERE kept.ancestor = $1)";
    let link = "INSERT INTO folder_tree (ancestor, descendant, depth) \
        SELECT above.ancestor, below.descendant, above.depth + below.depth + 1 \
        FROM folder_tree AS above CROSS JOIN folder_tree AS below WHERE above.descendant = $2 AND below.ancestor = $1";
    let deletion =
        vec![column("is_deleted", ColumnType::Boolean), nullable("deleted_at", ColumnType::Timestamp)];
    vec![
        update(
            "rename",
            "name = i.name, name_key = i.name_key, ",
            ", name, name_key",
            vec![text("name"), text("name_key")],
        ),
        update(
            "move_item",
            "parent_id = i.parent_id, ",
            ", parent_id",
            vec![nullable("parent_id", ColumnType::Uuid)],
        ),
        update(
            "deletion",
            "is_deleted = i.is_deleted, deleted_at = i.deleted_at, ",
            ", is_deleted, deleted_at",
            deletion,
        ),
        batched("tree_insert", tree_insert, vec![uuid("child"), nullable("parent", ColumnType::Uuid)]),
        write("tree_unlink", unlink, vec![uuid("id")]),
        write("tree_link", link, vec![uuid("id"), uuid("parent")]),
        // Replaces rows of the batch it is in, which PostgreSQL does not do in one statement.
        batched(
            "count_name",
            "INSERT INTO name_counts (name, uses) SELECT name, 1 FROM input WHERE true \
             ON CONFLICT (name) DO UPDATE SET uses = uses + excluded.uses",
            vec![text("name")],
        ),
    ]
}

fn reads() -> Vec<Statement> {
    let item = |name: &str, rest: &str, params: Vec<Column>| {
        read(name, &format!("{ITEM}{rest}"), params, item_columns())
    };
    let depth = |name: &str, sql: &str, params: Vec<Column>| {
        read(name, sql, params, vec![uuid("id"), text("kind"), integer("depth")])
    };
    let page = || vec![text("after_key"), uuid("after_id"), integer("most")];
    vec![
        item("any_item", "WHERE v.id = $1", vec![uuid("id")]),
        item(
            "children",
            "WHERE v.parent_id = $1 AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($2, $3) ORDER BY v.name_key, v.id LIMIT $4",
            [vec![uuid("folder")], page()].concat(),
        ),
        item(
            "root_children",
            "WHERE v.parent_id IS NULL AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($1, $2) ORDER BY v.name_key, v.id LIMIT $3",
            page(),
        ),
        item(
            "search",
            "WHERE v.name_key LIKE $1 ESCAPE '!' AND v.is_deleted = FALSE AND (v.name_key, v.id) > ($2, $3) ORDER BY v.name_key, v.id LIMIT $4",
            [vec![text("pattern")], page()].concat(),
        ),
        item(
            "trash",
            "WHERE v.deleted_at IS NOT NULL AND (v.deleted_at, v.id) < ($1, $2) ORDER BY v.deleted_at DESC, v.id DESC LIMIT $3",
            vec![time("before"), uuid("before_id"), integer("most")],
        ),
        item("by_deletion", "ORDER BY v.deleted_at, v.id LIMIT $1", vec![integer("most")]),
        depth(
            "tree",
            "SELECT v.id, v.kind, t.depth FROM folder_tree AS t JOIN file_views AS v ON v.id = t.descendant \
             JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id \
             WHERE t.ancestor = $1 AND t.depth >= 1 AND t.depth <= $2 AND v.is_deleted = FALSE ORDER BY t.descendant LIMIT $3 OFFSET $4",
            vec![uuid("folder"), integer("depth"), integer("most"), integer("skip")],
        ),
        depth(
            "ancestors",
            "SELECT v.id, v.kind, t.depth FROM folder_tree AS t JOIN file_views AS v ON v.id = t.ancestor \
             JOIN readable AS r ON r.aggregate = v.kind AND r.id = v.id \
             WHERE t.descendant = $1 AND t.depth >= 1 ORDER BY t.depth DESC",
            vec![uuid("id")],
        ),
        depth(
            "deepest",
            "SELECT v.id, v.kind, max(t.depth) AS depth FROM file_views AS v JOIN folder_tree AS t ON t.descendant = v.id \
             WHERE v.is_deleted = TRUE GROUP BY v.id, v.kind ORDER BY v.id LIMIT $1 OFFSET $2",
            vec![integer("most"), integer("skip")],
        ),
    ]
}

fn declared() -> Projection {
    let views = vec![
        uuid("id"),
        text("kind"),
        text("name"),
        text("name_key"),
        nullable("parent_id", ColumnType::Uuid),
        integer("version"),
        column("is_deleted", ColumnType::Boolean),
        nullable("deleted_at", ColumnType::Timestamp),
        time("updated_at"),
    ];
    let mut views = table("file_views", views, &["id"]);
    views.indexes = vec![
        index(&["parent_id", "is_deleted", "name_key", "id"], false),
        index(&["deleted_at", "id"], false),
    ];
    let mut tree = table(
        "folder_tree",
        vec![uuid("ancestor"), uuid("descendant"), integer("depth")],
        &["ancestor", "descendant"],
    );
    tree.indexes = vec![index(&["descendant", "depth"], false)];
    let counts = table("name_counts", vec![text("name"), integer("uses")], &["name"]);
    let mut declared = projection(vec![views, tree, counts], [writes(), reads()].concat());
    declared.name = "files".into();
    declared
}

/// What happens to items: the item, another one, a name.
#[derive(Clone, Debug)]
enum Happening {
    Create { folder: bool, parent: usize, name: String },
    Rename { item: usize, name: String },
    Move { item: usize, parent: usize },
    Delete { item: usize },
    Restore { item: usize },
}

fn happening() -> impl Strategy<Value = Happening> {
    let name = || prop_oneof!["[a-cA-C]{1,3}", "[äÄ%!_]{1,2}", "[ -~]{1,4}"];
    prop_oneof![
        5 => (any::<bool>(), 0..40usize, name()).prop_map(|(folder, parent, name)| Happening::Create { folder, parent, name }),
        2 => (0..40usize, name()).prop_map(|(item, name)| Happening::Rename { item, name }),
        2 => (0..40usize, 0..40usize).prop_map(|(item, parent)| Happening::Move { item, parent }),
        1 => (0..40usize).prop_map(|item| Happening::Delete { item }),
        1 => (0..40usize).prop_map(|item| Happening::Restore { item }),
    ]
}

#[derive(Clone)]
struct Item {
    kind: &'static str,
    parent: Option<usize>,
    version: i64,
}

/// The folded history, to make only what can happen.
#[derive(Default)]
struct History {
    items: Vec<Item>,
    now: i64,
}

fn id(item: usize) -> Value {
    Value::Text(Uuid::from_u128(item as u128 + 1).to_string())
}

fn parent_id(parent: Option<usize>) -> Value {
    parent.map_or(Value::Null, id)
}

impl History {
    fn is_below(&self, item: usize, folder: usize) -> bool {
        let mut at = Some(item);
        while let Some(here) = at {
            if here == folder {
                return true;
            }
            at = self.items[here].parent;
        }
        false
    }

    fn folder(&self, wanted: usize) -> Option<usize> {
        (wanted < self.items.len() && self.items[wanted].kind == "folder").then_some(wanted)
    }

    /// The changes of a happening, as the plugin makes them.
    fn changes(&mut self, happening: &Happening) -> Vec<Change> {
        self.now += 1_000_001;
        let now = Value::Timestamp(Timestamp::from_micros(1_700_000_000_000_000 + self.now));
        let name_key = |name: &str| Value::Text(name.to_lowercase());
        let changed = |items: &mut Vec<Item>, item: usize| {
            items[item].version += 1;
            vec![id(item), Value::Integer(items[item].version), now.clone()]
        };
        match happening {
            Happening::Create { folder, parent, name } => {
                let item = Item {
                    kind: if *folder { "folder" } else { "file" },
                    parent: self.folder(*parent),
                    version: 1,
                };
                let number = self.items.len();
                let row = vec![
                    id(number),
                    Value::Text(item.kind.to_owned()),
                    Value::Text(name.clone()),
                    name_key(name),
                    parent_id(item.parent),
                    Value::Integer(1),
                    Value::Boolean(false),
                    Value::Null,
                    now,
                ];
                let parent = parent_id(item.parent);
                self.items.push(item);
                vec![
                    Change::Put { table: "file_views".into(), row },
                    run("tree_insert", vec![id(number), parent]),
                    run("count_name", vec![Value::Text(name.clone())]),
                ]
            }
            Happening::Rename { item, name } if *item < self.items.len() => {
                let common = changed(&mut self.items, *item);
                vec![run("rename", [common, vec![Value::Text(name.clone()), name_key(name)]].concat())]
            }
            Happening::Move { item, parent } if *item < self.items.len() => {
                let parent = self.folder(*parent).filter(|parent| !self.is_below(*parent, *item));
                self.items[*item].parent = parent;
                let common = changed(&mut self.items, *item);
                let mut changes = vec![
                    run("move_item", [common, vec![parent_id(parent)]].concat()),
                    run("tree_unlink", vec![id(*item)]),
                ];
                changes.extend(parent.map(|parent| run("tree_link", vec![id(*item), id(parent)])));
                changes
            }
            Happening::Delete { item } if *item < self.items.len() => {
                let common = changed(&mut self.items, *item);
                vec![run("deletion", [common, vec![Value::Boolean(true), now]].concat())]
            }
            Happening::Restore { item } if *item < self.items.len() => {
                let common = changed(&mut self.items, *item);
                vec![run("deletion", [common, vec![Value::Boolean(false), Value::Null]].concat())]
            }
            _ => Vec::new(),
        }
    }

    /// Who may read what: everybody this one in seven, the rest by their parents.
    async fn grant(&self, store: &Store) {
        for (number, item) in self.items.iter().enumerate() {
            let entry = AccessEntry { subject: Subject::Everyone, permissions: Permission::Read.into() };
            let access = Access {
                owner: None,
                parent: item
                    .parent
                    .map(|parent| StreamRef::new("folder", Uuid::from_u128(parent as u128 + 1))),
                inherits: number % 4 != 3,
                entries: if number % 7 == 0 { vec![entry] } else { Vec::new() },
            };
            set_access_of(store, item.kind, number as u128 + 1, access).await;
        }
    }
}

fn questions(items: usize) -> Vec<(&'static str, Vec<Value>)> {
    let some = |text: &str| Value::Text(text.to_owned());
    let zero = || some("00000000-0000-0000-0000-000000000000");
    let most = || Value::Integer(20);
    let late = || Value::Timestamp(Timestamp::from_micros(253_402_300_799_999_999));
    let last = || some("ffffffff-ffff-ffff-ffff-ffffffffffff");
    let mut all = vec![
        ("root_children", vec![some(""), zero(), most()]),
        ("root_children", vec![some("b"), zero(), Value::Integer(3)]),
        ("trash", vec![late(), last(), most()]),
        ("by_deletion", vec![Value::Integer(-1)]),
        ("deepest", vec![most(), Value::Integer(1)]),
    ];
    for pattern in ["%a%", "%!%%", "B%", "%ä%", "%!_%"] {
        all.push(("search", vec![some(pattern), some(""), zero(), most()]));
    }
    for item in 0..items {
        all.push(("any_item", vec![id(item)]));
        all.push(("children", vec![id(item), some(""), zero(), most()]));
        all.push(("ancestors", vec![id(item)]));
        all.push(("tree", vec![id(item), Value::Integer(3), most(), Value::Integer(0)]));
    }
    all
}

async fn answers(model: &ReadModel, principal: &Principal, items: usize) -> BTreeMap<String, String> {
    let mut session = model.session(principal).await.expect("a session");
    let mut all = BTreeMap::new();
    for (statement, params) in questions(items) {
        let rows = session.read(&call(statement, params.clone())).await.expect("rows");
        all.insert(format!("{statement} {params:?}"), format!("{rows:?}"));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_give_the_same_rows_and_answers() {
    let mut runner = TestRunner::default();
    for _ in 0..3 {
        let (left, right) = (Place::sqlite(), Place::postgres());
        let (one_store, one) = left.with(&declared()).await;
        let (two_store, two) = right.with(&declared()).await;
        let mut history = History::default();
        for position in 0..12 {
            let batch =
                prop::collection::vec(happening(), 1..30).new_tree(&mut runner).expect("a batch").current();
            let changes: Vec<Change> =
                batch.iter().flat_map(|happening| history.changes(happening)).collect();
            one.apply(changes.clone(), position, position + 1).await.expect("applies");
            two.apply(changes, position, position + 1).await.expect("applies");
            let (left, right) = (one.checksum().await.expect("sums"), two.checksum().await.expect("sums"));
            assert_eq!(left, right, "{batch:#?}");
        }
        history.grant(&one_store).await;
        history.grant(&two_store).await;
        let items = history.items.len();
        for principal in [admin(), somebody(100, &[])] {
            let (left, right) =
                (answers(&one, &principal, items).await, answers(&two, &principal, items).await);
            assert_eq!(left, right);
        }
    }
}
