//! The Domain API's statements, each on both databases.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where PostgreSQL is, and wait with an end"
)]

#[expect(dead_code, reason = "this helper has more than this file needs")]
mod common;

use common::Place;
use model::entities::{
    AnswerStyle, Assignment, Author, EntityType, EntityValue, FixedDecimal, Member, Permissions, by_key, check_fields,
    check_filter, check_list, find_set, held_fields,
};
use model::{Culture, InstanceId, Timestamp};
use odata::{Query, Selected, Url};
use store::entities::{AggregateVersion, EntityRow, count, delete, insert, insert_all, rows, touch, update};
use store::{Batch, CommitOutcome, Store, statement, values};
use uuid::Uuid;

on_both! {
    every_value_of_the_demo_reads_back_as_it_was_written
    every_member_can_be_selected_filtered_and_ordered_as_the_model_says
    a_filter_finds_what_it_says_and_nothing_else
    texts_in_several_languages_are_ordered_by_what_the_reader_is_shown
    nulls_come_first_and_ties_go_by_key
    pages_by_key_meet_without_gap_or_overlap
    a_write_that_counts_on_an_old_version_changes_nothing
    what_a_root_owns_goes_with_it
    what_is_referenced_stays_and_what_is_unique_is_once
    instances_share_nothing
}

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

async fn instance(place: &Place, number: u128) -> Store {
    let database = place.migrated().await;
    let id = InstanceId(Uuid::from_u128(number));
    let made = statement(
        "INSERT INTO instances (id, name, settings, root_secret, feed, created_at) VALUES ($1, $2, '{}', $3, 0, 0)",
        values![id.0, format!("i{number}"), [0; 32]],
    );
    let store = Store::new(database, id);
    done(&store, made.expect(1).into_batch()).await;
    store
}

/// A batch of one.
trait IntoBatch {
    fn into_batch(self) -> Batch;
}

impl IntoBatch for store::Statement {
    fn into_batch(self) -> Batch {
        Batch::new().with(self)
    }
}

async fn done(store: &Store, batch: Batch) {
    assert_eq!(store.commit(batch).await.expect("no fault"), CommitOutcome::Committed);
}

async fn filled(place: &Place) -> Store {
    let store = instance(place, 1).await;
    fill(&store).await;
    store
}

async fn fill(store: &Store) {
    let mut batch = Batch::new();
    for (entity, rows) in demo::tables(author()) {
        batch.extend(insert_all(store, entity, rows.iter().map(|row| (row.key, row.assignments.as_slice())), NOW));
    }
    done(store, batch).await;
}

const fn author() -> Author<'static> {
    Author { login: "admin", now: NOW }
}

fn entity(set: &str) -> &'static EntityType {
    find_set(set).expect("a set of the model").entity
}

fn everything() -> Permissions {
    Permissions::new(&["*"], &[])
}

fn query(raw: &str) -> Query {
    Url::parse("X", raw).unwrap_or_else(|problem| panic!("{raw}: {problem}")).query
}

async fn list(store: &Store, set: &str, raw: &str) -> Vec<EntityRow> {
    let query = query(raw);
    let style = AnswerStyle::of(&query, Culture::ENGLISH).expect("options");
    let selection = check_list(entity(set), &query, style, 10_000, &everything());
    let selection = selection.unwrap_or_else(|refusal| panic!("{raw}: {}", refusal.body().message));
    rows(store, &selection).await.unwrap_or_else(|fault| panic!("{raw}: {fault:?}"))
}

async fn numbers(store: &Store, raw: &str) -> Vec<String> {
    let records = list(store, "Crm_Customers", &format!("$select=Number&{raw}")).await;
    records.into_iter().map(|record| record.values[0].shown(Culture::ENGLISH).to_owned()).collect()
}

async fn version(store: &Store, entity: &'static EntityType, key: Uuid) -> i64 {
    let records = rows(store, &by_key(entity, key, held_fields(entity))).await.expect("no fault");
    match records[0].values[0] {
        EntityValue::Integer(version) => version,
        ref other => panic!("{other:?}"),
    }
}

fn set(entity: &'static EntityType, name: &str, value: EntityValue) -> Assignment {
    Assignment { member: entity.member(name).expect("a member"), value }
}

const CUSTOMER: &str = "c0000000-0000-4000-8000-000000001001";
const ORDER: &str = "d0000000-0000-4000-8000-000000000077";
const LINE: &str = "e0000000-0000-4000-8000-000000007700";

fn key(text: &str) -> Uuid {
    text.parse().expect("a guid")
}

async fn every_value_of_the_demo_reads_back_as_it_was_written(place: Place) {
    let store = filled(&place).await;
    for (entity, written) in demo::tables(author()) {
        let style = AnswerStyle::default();
        let fields = check_fields(entity, None, style, &everything()).expect("the default");
        assert_eq!(count(&store, entity, &[]).await.expect("no fault"), u64::try_from(written.len()).expect("few"));
        for row in written.iter().step_by(37) {
            let read = rows(&store, &by_key(entity, row.key, fields.clone())).await.expect("no fault");
            for assignment in &row.assignments {
                let at = fields.iter().position(|field| field.name == assignment.member.name()).expect("shown");
                assert_eq!(read[0].values[at], assignment.value, "{} {assignment:?}", entity.set);
            }
        }
    }
}

const LITERALS: &[&str] = &[
    "null",
    "true",
    "1",
    "1.5",
    "'x'",
    "2026-01-05",
    CUSTOMER,
    "'Released'",
    "'A'",
    "'Crm_Sales_Customers(c0000000-0000-4000-8000-000000001001)'",
];

async fn every_member_can_be_selected_filtered_and_ordered_as_the_model_says(place: Place) {
    let store = filled(&place).await;
    let mut accepted = 0;
    for entity in model::entities::SETS {
        let system = ["Id", "ObjectVersion", "DisplayText", "AggregateLastUpdateTimeUtc"];
        let names = entity.members.iter().map(Member::name).chain(system);
        for name in names.filter(|name| entity.member(name).is_some()) {
            let select = [Selected::Member(name.to_owned())];
            let fields = check_fields(entity, Some(&select), AnswerStyle::default(), &everything()).expect("a member");
            let read = rows(&store, &by_key(entity, key(CUSTOMER), fields)).await;
            assert!(read.is_ok(), "{name}: {read:?}");
            for path in [name.to_owned(), format!("{name}Value")] {
                for literal in LITERALS {
                    for filter in [
                        format!("{path} eq {literal}"),
                        format!("{path} le {literal}"),
                        format!("{path} in ({literal},{literal})"),
                        format!("contains({path},{literal})"),
                        format!("greaterequalnull({path},{literal})"),
                    ] {
                        let conditions = check_filter(entity, &query(&format!("$filter={filter}")), &everything());
                        if let Ok(conditions) = conditions {
                            let counted = count(&store, entity, &conditions).await;
                            assert!(counted.is_ok(), "{filter}: {counted:?}");
                            accepted += 1;
                        }
                    }
                }
            }
            let (order, style) = (query(&format!("$orderby={name} desc")), AnswerStyle::default());
            if let Ok(selection) = check_list(entity, &order, style, 5, &everything()) {
                let ordered = rows(&store, &selection).await;
                assert!(ordered.is_ok(), "{name}: {ordered:?}");
            }
        }
    }
    assert!(accepted > 200, "{accepted} filters were tried");
}

async fn a_filter_finds_what_it_says_and_nothing_else(place: Place) {
    let store = filled(&place).await;
    let company = "a0000000-0000-4000-8000-000000000001";
    for (set, filter, expected) in [
        ("Crm_Customers", "Number eq 'K-1003'".to_owned(), 1),
        ("Crm_Customers", "Number eq 'k-1003'".to_owned(), 0),
        ("Crm_Customers", "Number in ('K-1001','K-1520','K-9')".to_owned(), 2),
        ("Crm_Customers", "contains(Number,'k-100')".to_owned(), 9),
        ("Crm_Customers", "startswith(Number,'-1')".to_owned(), 0),
        ("Crm_Customers", "endswith(Number,'1001')".to_owned(), 1),
        ("Crm_Customers", "contains(Number,'_')".to_owned(), 0),
        ("Crm_Customers", "contains(Number,'%25')".to_owned(), 0),
        ("Crm_Customers", "contains(Number,'')".to_owned(), 520),
        ("Crm_Customers", format!("Id in ({CUSTOMER})"), 1),
        ("Crm_Customers", format!("Party eq 'General_Contacts_Parties({company})'"), 1),
        ("Crm_Customers", "contains(Party/PartyName,'HARBOUR TOOLS')".to_owned(), 1),
        ("Crm_Customers", "contains(Party,'harbour tools')".to_owned(), 1),
        ("Crm_Customers", "SalesPerson eq null".to_owned(), 104),
        ("Crm_Customers", "CreditLimitValue ge 20000".to_owned(), 74),
        ("Crm_Customers", "CreditLimitValue ge 20000.000001".to_owned(), 0),
        ("Crm_Customers", "Active eq true and SalesPerson eq null".to_owned(), 94),
        ("Crm_Customers", "lessequalnull(FromDate,2026-01-05)".to_owned(), 104),
        ("General_Products_Products", "PartNumber eq 'P-003'".to_owned(), 1),
        ("General_Products_Products", "contains(Name,'amm')".to_owned(), 20),
        ("General_Products_Products", "contains(Name,'ЧУК')".to_owned(), 20),
        ("General_Products_Products", "contains(Name,'MEISSEL')".to_owned(), 0),
        ("General_Products_Products", "contains(Name,'de')".to_owned(), 20),
        ("Crm_Sales_SalesOrderLines", "SalesOrder/DocumentNo eq 'SO-77' and QuantityValue ge 5".to_owned(), 1),
        ("Crm_Sales_SalesOrders", format!("DocumentNo eq 'SO-77' and Customer eq 'Crm_Customers({CUSTOMER})'"), 1),
        ("Crm_Sales_SalesOrders", "DocumentNo eq 'SO-77' and State ge 'Planned'".to_owned(), 1),
        ("Crm_Sales_SalesOrders", "DocumentNo eq 'SO-78' and State ge 'Planned'".to_owned(), 0),
    ] {
        let filter = query(&format!("$filter={filter}"));
        let conditions = check_filter(entity(set), &filter, &everything()).expect("a filter of the model");
        let counted = count(&store, entity(set), &conditions).await.expect("no fault");
        assert_eq!(counted, expected, "{:?}", filter.pairs);
    }
}

/// Ordered and shown by one rule: the reader's language, else English, else the first. SQLite and PostgreSQL have a
/// function each for it.
async fn texts_in_several_languages_are_ordered_by_what_the_reader_is_shown(place: Place) {
    let store = filled(&place).await;
    let units = entity("General_MeasurementUnits");
    let named = |at: u128, code: &str, texts: &[(&str, &str)]| {
        let names = texts.iter().map(|&(language, text)| (language.to_owned(), text.to_owned())).collect();
        let values = [
            set(units, "Code", EntityValue::text(code)),
            set(units, "Name", EntityValue::Names(names)),
            set(units, "Multiplier", EntityValue::Decimal(FixedDecimal(1))),
            set(units, "Divisor", EntityValue::Decimal(FixedDecimal(1))),
            set(units, "IsDefaultUnit", EntityValue::Boolean(false)),
        ];
        insert(&store, units, Uuid::from_u128(at), &values, NOW).into_batch()
    };
    done(&store, named(1, "fr", &[("FR", "lot"), ("DE", "Posten")])).await;
    done(&store, named(2, "dash", &[("EN", "jar \"x\" \\ \u{1f}")])).await;
    for (culture, expected) in [
        ("en", ["box", "dash", "kg", "l", "fr", "m", "pcs"]),
        ("de", ["dash", "kg", "l", "m", "fr", "box", "pcs"]),
        ("bg", ["dash", "fr", "pcs", "kg", "box", "l", "m"]),
        ("fr", ["box", "dash", "kg", "l", "fr", "m", "pcs"]),
    ] {
        let raw = format!("$select=Code,DisplayText,Name&$orderby=Name&culture={culture}");
        let records = list(&store, "General_MeasurementUnits", &raw).await;
        let of = Culture::of_tag(culture).expect("a language");
        for record in &records {
            assert_eq!(record.values[1], EntityValue::text(record.values[2].shown(of)), "{culture}");
        }
        let mut shown: Vec<_> = records.iter().map(|record| record.values[2].shown(of).to_lowercase()).collect();
        let codes: Vec<_> = records.iter().map(|record| record.values[0].shown(of).to_owned()).collect();
        assert_eq!(codes, expected, "{culture}: {shown:?}");
        let ascending = shown.clone();
        shown.reverse();
        let descending = list(&store, "General_MeasurementUnits", &raw.replace("=Name&", "=Name desc&")).await;
        let descending: Vec<_> = descending.iter().map(|record| record.values[2].shown(of).to_lowercase()).collect();
        assert_eq!(descending, shown, "{ascending:?}");
    }
}

async fn nulls_come_first_and_ties_go_by_key(place: Place) {
    let store = filled(&place).await;
    assert_eq!(numbers(&store, "$orderby=FromDate&$top=1").await, ["K-1001", "K-1006"]);
    assert_eq!(numbers(&store, "$orderby=FromDate desc&$skip=519").await, ["K-1516"]);
    assert_eq!(numbers(&store, "$orderby=GracePeriodDays desc,Number desc&$top=1").await, ["K-1519", "K-1516"]);
}

async fn pages_by_key_meet_without_gap_or_overlap(place: Place) {
    let store = filled(&place).await;
    let first = list(&store, "Crm_Customers", "$top=9").await;
    let next = first.last().expect("one more").key;
    let second = list(&store, "Crm_Customers", &format!("$top=9&$skiptoken={next}")).await;
    assert_eq!(second[0].key, next);
    let skipped = list(&store, "Crm_Customers", "$top=9&$skip=9").await;
    let keys = |records: &[EntityRow]| records.iter().map(|record| record.key).collect::<Vec<_>>();
    assert_eq!(keys(&second), keys(&skipped));
}

async fn a_write_that_counts_on_an_old_version_changes_nothing(place: Place) {
    let store = filled(&place).await;
    let customers = entity("Crm_Customers");
    let changed = [set(customers, "GracePeriodDays", EntityValue::Integer(21))];
    let turn = |version| Some(AggregateVersion { version, stamp: Timestamp(NOW.0 + 1) });
    let write = |version| update(&store, customers, key(CUSTOMER), &changed, turn(version)).into_batch();
    done(&store, write(1)).await;
    assert_eq!(version(&store, customers, key(CUSTOMER)).await, 2);
    let late = store.commit(write(1)).await.expect("no fault");
    assert_eq!(late, CommitOutcome::GuardFailed { statement: 0 });
    let gone = store.commit(delete(&store, customers, key(CUSTOMER), Some(1)).into_batch()).await;
    assert_eq!(gone.expect("no fault"), CommitOutcome::GuardFailed { statement: 0 });

    let (orders, lines) = (entity("Crm_Sales_SalesOrders"), entity("Crm_Sales_SalesOrderLines"));
    let note = [set(lines, "Notes", EntityValue::text("x"))];
    let part = |version| {
        let turn = AggregateVersion { version, stamp: NOW };
        let owner = touch(&store, orders, key(ORDER), turn);
        Batch::new().with(owner).with(update(&store, lines, key(LINE), &note, None))
    };
    done(&store, part(1)).await;
    assert_eq!(version(&store, lines, key(LINE)).await, 2, "a line's version is its order's");
    assert_eq!(store.commit(part(1)).await.expect("no fault"), CommitOutcome::GuardFailed { statement: 0 });
}

async fn what_a_root_owns_goes_with_it(place: Place) {
    let store = filled(&place).await;
    let (orders, lines) = (entity("Crm_Sales_SalesOrders"), entity("Crm_Sales_SalesOrderLines"));
    let of_order = query(&format!("$filter=SalesOrder eq 'Crm_Sales_SalesOrders({ORDER})'"));
    let of_order = check_filter(lines, &of_order, &everything()).expect("a filter");
    assert_eq!(count(&store, lines, &of_order).await.expect("no fault"), 2);
    done(&store, delete(&store, orders, key(ORDER), Some(1)).into_batch()).await;
    assert_eq!(count(&store, lines, &of_order).await.expect("no fault"), 0);
}

async fn what_is_referenced_stays_and_what_is_unique_is_once(place: Place) {
    let store = filled(&place).await;
    let customers = entity("Crm_Customers");
    let referenced = delete(&store, customers, key(CUSTOMER), Some(1));
    assert!(store.commit(referenced.into_batch()).await.is_err(), "orders refer to it");
    let currencies = entity("General_Currencies");
    let currency = |sign: &str| {
        let values = [
            set(currencies, "CurrencySign", EntityValue::text(sign)),
            set(currencies, "Name", EntityValue::text("x")),
            set(currencies, "ShowOrder", EntityValue::Integer(9)),
        ];
        insert(&store, currencies, Uuid::from_u128(9), &values, NOW).into_batch()
    };
    assert!(store.commit(currency("EUR")).await.is_err(), "there is a euro");
    done(&store, currency("XTS")).await;
    let limit = EntityValue::Measure { value: FixedDecimal(1), code: "XTS".to_owned() };
    let to_nobody = [set(customers, "CreditLimit", limit), set(customers, "Party", EntityValue::Guid(Uuid::nil()))];
    let turn = Some(AggregateVersion { version: 1, stamp: NOW });
    let dangling = update(&store, customers, key(CUSTOMER), &to_nobody, turn);
    assert!(store.commit(dangling.into_batch()).await.is_err(), "there is no such company");
}

async fn instances_share_nothing(place: Place) {
    let (one, other) = (filled(&place).await, instance(&place, 2).await);
    let customers = entity("Crm_Customers");
    assert_eq!(count(&other, customers, &[]).await.expect("no fault"), 0);
    fill(&other).await;
    let changed = [set(customers, "GracePeriodDays", EntityValue::Integer(99))];
    let turn = Some(AggregateVersion { version: 1, stamp: NOW });
    done(&other, update(&other, customers, key(CUSTOMER), &changed, turn).into_batch()).await;
    let graces = query("$filter=GracePeriodDays eq 99");
    let graces = check_filter(customers, &graces, &everything()).expect("a filter");
    assert_eq!(count(&one, customers, &graces).await.expect("no fault"), 0);
    assert_eq!(count(&other, customers, &graces).await.expect("no fault"), 1);
    let by_name = query("$filter=contains(Party/PartyName,'Harbour Tools')");
    let by_name = check_filter(customers, &by_name, &everything()).expect("a filter");
    assert_eq!(count(&one, customers, &by_name).await.expect("no fault"), 1, "a join stays in its instance");
}
