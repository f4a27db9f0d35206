//! `shared_with_me` and `permissions`: who was granted what.

use std::collections::BTreeMap;

use cairn_sdk::prelude::*;
use cairn_sdk::shared::{Call, Row};

use super::super::item::{ItemView, Page, after_name, default_limit, read_kind, rows_for};
use super::super::sql::{GRANTS, GROUPS_AT_ONCE, SECURITY, SHARED, SHARED_WITH_GROUPS};
use super::item::no_such;
use crate::domain::ItemKind;
use crate::read_model::Files;

/// The most groups that a caller may have here.
const GROUPS_LIMIT: usize = 2_000;

/// What others own and have granted to the caller, to a group of the caller or to everyone, sorted by name. What is
/// below such a folder is not listed by itself.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "shared_with_me", response = Page<ItemView>)]
#[serde(deny_unknown_fields)]
pub struct SharedWithMe {
    /// The most items to answer.
    #[serde(default = "default_limit")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u32,
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// The owner of a file or a folder and the grants on it.
#[derive(Query, Debug, Deserialize, JsonSchema)]
#[query(name = "permissions", response = PermissionsView)]
#[serde(deny_unknown_fields)]
pub struct GetPermissions {
    /// Of which one.
    pub id: Uuid,
}

/// Who may do what with an item by its own grants; those of the folders above add to them.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PermissionsView {
    /// The item.
    pub id: Uuid,
    /// Whether it is a file or a folder.
    pub kind: ItemKind,
    /// Its owner, who may do everything.
    pub owner_id: Uuid,
    /// Whether it takes the grants of the folder above.
    pub inherits: bool,
    /// The grants, in the order in which they were given.
    pub items: Vec<GrantView>,
    /// Always null: all grants are on one page.
    pub next: Option<String>,
}

/// One grant.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GrantView {
    /// To whom.
    pub subject: Subject,
    /// What.
    pub permission: Permission,
    /// When.
    pub granted_at: Timestamp,
    /// By whom.
    pub granted_by: Uuid,
}

impl GrantView {
    fn read(row: &mut Row) -> Result<Self, Fault> {
        let (kind, name): (String, String) = (row.take()?, row.take()?);
        let subject = Subject::from_parts(&kind, &name)
            .ok_or_else(|| Fault(format!("`{kind}` `{name}` is no subject")))?;
        let permission: String = row.take()?;
        let permission = Permission::ALL
            .into_iter()
            .find(|known| known.name() == permission)
            .ok_or_else(|| Fault(format!("`{permission}` is no permission")))?;
        Ok(Self { subject, permission, granted_at: row.take()?, granted_by: row.take()? })
    }
}

impl QueryHandler<SharedWithMe> for Files {
    fn handle(query: &SharedWithMe, ctx: &Context, db: &Db) -> Result<Page<ItemView>> {
        let most = rows_for(query.limit)?;
        let (after_key, after_id) = after_name(query.cursor.as_deref())?;
        let caller = ctx.principal();
        if caller.groups.len() > GROUPS_LIMIT {
            let message = format!("you are in {} groups, the limit is {GROUPS_LIMIT}", caller.groups.len());
            return Err(Rejection::rejected("too-many-groups", message).into());
        }
        let place = || [caller.id.into(), after_key.as_str().into(), after_id.into(), most.clone()];
        // A page of each; the first `limit` of all of them together are the page of all.
        let own = [Subject::User(caller.id), Subject::Everyone].map(|subject| {
            let subject = [subject.kind().into(), subject.name().into()];
            Call { statement: SHARED.name, params: subject.into_iter().chain(place()).collect() }
        });
        let groups = caller.groups.chunks(GROUPS_AT_ONCE).map(|groups| {
            // Where there are fewer groups than places, some stand in several.
            let groups = groups.iter().cycle().take(GROUPS_AT_ONCE).map(|group| group.as_str().into());
            Call { statement: SHARED_WITH_GROUPS.name, params: place().into_iter().chain(groups).collect() }
        });
        let calls = own.into_iter().chain(groups);
        let mut items = BTreeMap::new();
        for rows in db.select_all(calls.collect())? {
            for item in rows.read(ItemView::read)? {
                items.insert((item.name_key.clone(), item.id), item);
            }
        }
        Ok(Page::cut_by_name(items.into_values().collect(), query.limit)?)
    }
}

impl QueryHandler<GetPermissions> for Files {
    fn handle(query: &GetPermissions, _: &Context, db: &Db) -> Result<PermissionsView> {
        let id = query.id;
        let [item, grants] = db.select_each([SECURITY.call([id.into()]), GRANTS.call([id.into()])])?;
        let item = item.read(|row| Ok((read_kind(row)?, row.take()?, row.take()?)))?.pop();
        let (kind, owner_id, inherits) = item.ok_or_else(|| no_such("item", id))?;
        Ok(PermissionsView { id, kind, owner_id, inherits, items: grants.read(GrantView::read)?, next: None })
    }
}
