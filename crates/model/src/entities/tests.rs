use odata::{EntityTags, Json, Operator, Preconditions, Query, Resource, Url};
use uuid::Uuid;

use crate::entities::*;
use crate::{Culture, Timestamp};

const KEY: &str = "c0000000-0000-4000-8000-000000001001";
const ROOT: &str = "https://shop.example.test/api/domain/odata/";

fn everything() -> Permissions {
    Permissions::new(&["*"], &["*"])
}

fn entity(set: &str) -> &'static EntityType {
    find_set(set).expect("a set of the model").entity
}

fn query(raw: &str) -> Query {
    Url::parse("X", raw).unwrap_or_else(|problem| panic!("{raw}: {problem}")).query
}

fn filter(set: &str, text: &str) -> Result<Vec<FilterCondition>, EntityRefusal> {
    let encoded = text.replace('%', "%25").replace('&', "%26").replace('+', "%2B");
    check_filter(entity(set), &query(&format!("$filter={encoded}")), &everything())
}

fn fields(set: &str, raw: &str) -> Result<Vec<&'static str>, EntityRefusal> {
    let query = query(raw);
    let fields =
        check_fields(entity(set), query.select.as_deref(), AnswerStyle::of(&query, Culture::ENGLISH)?, &everything())?;
    Ok(fields.iter().map(|field| field.name).collect())
}

fn author() -> Author<'static> {
    let now = Timestamp(1_000_000);
    Author { login: "alice", now }
}

fn create(set: &str, body: &str) -> Result<Changes, EntityRefusal> {
    let body = Json::parse(body.as_bytes()).expect("JSON");
    check_create(entity(set), &body, ROOT, author())
}

fn update(set: &str, body: &str) -> Result<Changes, EntityRefusal> {
    let body = Json::parse(body.as_bytes()).expect("JSON");
    check_update(entity(set), &body, ROOT, author())
}

fn value_of<'a>(changes: &'a Changes, name: &str) -> Option<&'a EntityValue> {
    let found = changes.assignments.iter().find(|assignment| assignment.member.name() == name);
    found.map(|assignment| &assignment.value)
}

#[test]
fn the_model_names_only_what_it_has() {
    for entity in SETS {
        for reference in entity.references() {
            assert!(SETS.iter().any(|other| other.set == reference.target), "{}", reference.name);
            if let Some(quantity) = reference.follows {
                let followed = entity.attributes().find(|attribute| attribute.name == quantity);
                assert_eq!(followed.map(|attribute| attribute.kind), Some(AttributeKind::Quantity));
            }
        }
        for attribute in entity.attributes().filter(|attribute| !attribute.stored()) {
            assert!(entity.attributes().any(|kept| kept.stored() && kept.name == attribute.column));
        }
        assert!(entity.references().filter(|reference| reference.bond == ReferenceBond::Owner).count() <= 1);
        assert!(entity.owner().is_none_or(|owner| target_of(owner.target).owner().is_none()));
        let display = entity.member(DISPLAY).expect("every entity has one");
        assert!(fields(entity.set, &format!("$select={}", display.name())).is_ok(), "{}", entity.set);
        assert!(held_fields(entity).len() >= 2);
    }
}

#[test]
fn former_and_base_names_of_sets_are_known_where_they_may_stand() {
    for (name, current) in [
        ("Crm_Sales_Customers", "Crm_Sales_Customers"),
        ("Crm_Customers", "Crm_Sales_Customers"),
        ("General_MeasurementUnits", "General_Products_MeasurementUnits"),
        ("General_Currencies", "General_Currencies_Currencies"),
        ("Crm_SalesPersons", "Crm_SalesForce_SalesPersons"),
    ] {
        let set = find_set(name).expect("a known name");
        assert_eq!((set.entity.set, set.asked.as_str()), (current, name));
    }
    for name in ["crm_Customers", "General_Contacts_Parties", "Gen_Products", ""] {
        assert_eq!(find_set(name).map(|set| set.asked), Err(EntityRefusal::UnknownSet(name.to_owned())));
    }
    let company = entity("General_Contacts_Companies");
    assert!(answers_to(company, "General_Contacts_Parties"));
    assert!(!answers_to(company, "Crm_Customers"));
}

#[test]
fn the_default_output_has_attributes_and_references_and_nothing_of_the_system() {
    let shown = fields("Crm_Sales_Customers", "").expect("the default");
    assert_eq!(shown[..2], ["Active", "Number"]);
    assert!(shown.contains(&"Party") && shown.contains(&"SalesPerson"));
    for hidden in [ID, VERSION, DISPLAY, CHANGED_AT, "Products"] {
        assert!(!shown.contains(&hidden), "{hidden}");
    }
    for same in ["$select=*", "$select=default", "$select=DEFAULT,%20Number", "$select=*,*"] {
        assert_eq!(fields("Crm_Sales_Customers", same).as_ref(), Ok(&shown), "{same}");
    }
    let with_id = fields("Crm_Sales_Customers", "options=skipnulls,%20INCLUDEID").expect("valid");
    assert_eq!((with_id[0], with_id.len()), (ID, shown.len() + 1));
}

#[test]
fn a_selection_has_what_it_names_in_that_order_and_once() {
    let select = "$select=ObjectVersion,Number,Id,Number,AggregateLastUpdateTimeUtc";
    assert_eq!(fields("Crm_Customers", select), Ok(vec![VERSION, "Number", ID, CHANGED_AT]));
    let unknown = |entity, member: &str| EntityRefusal::UnknownMember { entity, member: member.to_owned() };
    for (set, select, refusal) in [
        ("Crm_Customers", "number", unknown("Crm_Sales_Customer", "number")),
        ("Crm_Customers", "CreditLimitValue", unknown("Crm_Sales_Customer", "CreditLimitValue")),
        ("Crm_Sales_SalesOrderLines", CHANGED_AT, unknown("Crm_Sales_SalesOrderLine", CHANGED_AT)),
        ("Crm_Sales_SalesOrders", "Lines", EntityRefusal::Unsupported("the collection Lines".to_owned())),
    ] {
        assert_eq!(fields(set, &format!("$select={select}")), Err(refusal));
    }
}

#[test]
fn a_filters_literals_take_the_type_of_the_member() {
    let key: Uuid = KEY.parse().expect("a guid");
    let fixed = |text: i64| EntityValue::Decimal(FixedDecimal(text));
    for (set, text, value) in [
        ("Crm_Customers", "Active eq true".to_owned(), EntityValue::Boolean(true)),
        ("Crm_Customers", "Number eq 'K-1'".to_owned(), EntityValue::text("K-1")),
        ("Crm_Customers", "GracePeriodDays ge 7".to_owned(), EntityValue::Integer(7)),
        ("Crm_Customers", "CreditLimitValue le 15.45".to_owned(), fixed(15_450_000)),
        ("Crm_Customers", format!("Id eq {key}"), EntityValue::Guid(key)),
        ("Crm_Customers", "FromDate le 1970-01-02T23:59:59Z".to_owned(), EntityValue::Instant(86_400_000_000)),
        (
            "Crm_Customers",
            "AggregateLastUpdateTimeUtc ge 1970-01-01T00:00:01Z".to_owned(),
            EntityValue::Instant(1_000_000),
        ),
        ("Crm_Sales_SalesOrders", "State ge 'Planned'".to_owned(), EntityValue::Rank(10)),
        ("Crm_Sales_SalesOrders", "State ge Erp.General_DocumentState'Planned'".to_owned(), EntityValue::Rank(10)),
        ("Crm_Sales_SalesOrders", "State eq 30".to_owned(), EntityValue::Rank(30)),
        ("Crm_Sales_SalesOrders", format!("Customer eq 'Crm_Customers({key})'"), EntityValue::Guid(key)),
        ("Crm_Sales_SalesOrders", format!("Customer eq 'Crm_Sales_Customers({key})'"), EntityValue::Guid(key)),
        ("Crm_Customers", format!("Party eq 'General_Contacts_Parties({key})'"), EntityValue::Guid(key)),
        ("Crm_Customers", "greaterequalnull(FromDate,1970-01-01)".to_owned(), EntityValue::Instant(0)),
    ] {
        match filter(set, &text).as_deref() {
            Ok([FilterCondition::Compare { value: read, .. }]) => assert_eq!(*read, value, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn conditions_keep_their_operators_and_nulls() {
    let conditions = filter(
        "Crm_Customers",
        "Number in ('a','b') and SalesPerson eq null and equalnull(GracePeriodDays,3) and ContAins(Number, '0_%')",
    );
    let column = |name| Column::own(name, ColumnPart::Plain);
    let expected = vec![
        FilterCondition::OneOf(column("Number"), vec![EntityValue::text("a"), EntityValue::text("b")]),
        FilterCondition::Null(column("SalesPerson")),
        FilterCondition::Compare {
            column: column("GracePeriodDays"),
            operator: Operator::Equal,
            value: EntityValue::Integer(3),
            or_null: true,
        },
        FilterCondition::Like(column("Number"), MatchKind::Contains, "0_%".to_owned()),
    ];
    assert_eq!(conditions, Ok(expected));
}

#[test]
fn a_path_crosses_owners_and_filterable_references_only() {
    for (set, text, path, name) in [
        ("Crm_Sales_SalesOrderLines", "SalesOrder/State eq 'Released'", "SalesOrder", "State"),
        ("Crm_Sales_SalesOrderLines", "SalesOrder/Customer/Number eq 'K'", "SalesOrder/Customer", "Number"),
        ("Crm_Customers", "contains(Party/PartyName,'harb')", "Party", "Name"),
        ("Crm_Customers", "contains(Party,'harb')", "Party", "Name"),
        ("Crm_Sales_SalesOrders", "contains(Customer,'harb')", "Customer/Party", "Name"),
    ] {
        let column = match filter(set, text).expect(text).remove(0) {
            FilterCondition::Compare { column, .. } | FilterCondition::Like(column, ..) => column,
            other => panic!("{text}: {other:?}"),
        };
        let via: Vec<_> = column.via.iter().map(|reference| reference.name).collect();
        assert_eq!((via.join("/").as_str(), column.name), (path, name), "{text}");
    }
    assert_eq!(
        filter("Crm_Customers", "DefaultCurrency/CurrencySign eq 'EUR'"),
        Err(EntityRefusal::NotCrossable { reference: "DefaultCurrency" })
    );
}

#[test]
fn what_the_model_does_not_compare_is_refused_with_its_name() {
    for (set, text) in [
        ("General_Products_Products", "Name eq 'Hammer'"),
        ("General_Products_Products", "startswith(Name,'Ham')"),
        ("Crm_Customers", "CreditLimit eq 5"),
        ("Crm_Customers", "Party ge 'Crm_Customers(c0000000-0000-4000-8000-000000001001)'"),
        ("Crm_Customers", "contains(GracePeriodDays,'7')"),
        ("Crm_Customers", "startswith(Party,'x')"),
        ("Crm_Customers", "GracePeriodDays in (1,2)"),
        ("Crm_Customers", "ObjectVersion eq 1"),
        ("Crm_Customers", "DisplayText eq 'x'"),
        ("Crm_Customers", "Id ge c0000000-0000-4000-8000-000000001001"),
    ] {
        assert!(matches!(filter(set, text), Err(EntityRefusal::NotFilterable { .. })), "{text}");
    }
    for (set, text) in [
        ("Crm_Customers", "Number eq 7"),
        ("Crm_Customers", "Number ge null"),
        ("Crm_Customers", "equalnull(Number,null)"),
        ("Crm_Customers", "Active eq 'true'"),
        ("Crm_Customers", "GracePeriodDays eq 1.5"),
        ("Crm_Customers", "CreditLimitValue eq 1e13"),
        ("Crm_Customers", "FromDate eq '2026-01-01'"),
        ("Crm_Customers", "Id eq 'c0000000-0000-4000-8000-000000001001'"),
        ("Crm_Customers", "Party eq 'Crm_Customers(c0000000-0000-4000-8000-000000001001)'"),
        ("Crm_Customers", "Party eq c0000000-0000-4000-8000-000000001001"),
        ("Crm_Customers", "contains(Number,7)"),
        ("Crm_Sales_SalesOrders", "State eq 'released'"),
        ("Crm_Sales_SalesOrders", "State eq Erp.Other'Released'"),
    ] {
        assert!(matches!(filter(set, text), Err(EntityRefusal::WrongValue { .. })), "{text}");
    }
    let too_precise = EntityRefusal::TooPrecise { member: "CreditLimit".to_owned(), places: 6 };
    assert_eq!(filter("Crm_Customers", "CreditLimitValue eq 0.0000001"), Err(too_precise));
    assert_eq!(
        filter("Crm_Customers", "matchesPattern(Number,'x')"),
        Err(EntityRefusal::Unsupported("matchesPattern".to_owned()))
    );
    for text in ["number eq 'x'", "Number/X eq 1", "Party/Missing eq 1", "PartyValue eq 1"] {
        assert!(matches!(filter("Crm_Customers", text), Err(EntityRefusal::UnknownMember { .. })), "{text}");
    }
}

#[test]
fn what_a_role_may_not_read_is_not_read_through_a_reference() {
    let viewer = Permissions::new(&["Crm_*"], &[]);
    let customers = entity("Crm_Customers");
    let refusal = EntityRefusal::Forbidden { set: "General_Contacts_Companies", access: AccessKind::Read };
    for raw in ["$filter=contains(Party/PartyName,'h')", "$filter=contains(Party,'h')"] {
        assert_eq!(check_filter(customers, &query(raw), &viewer), Err(refusal.clone()), "{raw}");
    }
    let shown = |raw: &str| check_fields(customers, query(raw).select.as_deref(), AnswerStyle::default(), &viewer);
    assert_eq!(shown("$select=DisplayText").map(|fields| fields.len()), Err(refusal.clone()));
    let order = check_list(customers, &query("$orderby=Party/PartyCode"), AnswerStyle::default(), 10, &viewer);
    assert_eq!(order.map(|selection| selection.limit), Err(refusal));
    assert!(shown("").is_ok(), "the reference itself is the customer's");
}

#[test]
fn a_list_is_cut_at_the_page_with_one_row_to_see_whether_others_follow() {
    let list = |raw: &str| {
        let (query, accepted) = (query(raw), Culture::of_tag("bg").expect("a language"));
        let style = AnswerStyle::of(&query, accepted)?;
        check_list(entity("Crm_Customers"), &query, style, 100, &everything())
    };
    for (raw, limit, start) in [
        ("", 101, Start::Skip(0)),
        ("$top=10", 11, Start::Skip(0)),
        ("$top=0", 1, Start::Skip(0)),
        ("$top=1000&$skip=5", 101, Start::Skip(5)),
        (&format!("$skiptoken={KEY}"), 101, Start::At(KEY.parse().expect("a guid"))),
    ] {
        let selection = list(raw).expect(raw);
        assert_eq!((selection.limit, selection.start), (limit, start), "{raw}");
    }
    for raw in ["$skiptoken=x", &format!("$skiptoken={KEY}&$orderby=Number"), &format!("$skiptoken={KEY}&$skip=1")] {
        assert!(matches!(list(raw), Err(EntityRefusal::WrongValue { .. })), "{raw}");
    }
    let order = list("$orderby=Number%20desc,GracePeriodDays").expect("orderable").order;
    assert_eq!(
        order,
        [("Number", true), ("GracePeriodDays", false)].map(|(n, d)| (Column::own(n, ColumnPart::Plain), d))
    );
    for raw in [
        "$orderby=CreditLimit",
        "$orderby=CreditLimitValue",
        "$orderby=Party",
        "$orderby=ObjectVersion",
        "$orderby=DisplayText",
    ] {
        assert!(matches!(list(raw), Err(EntityRefusal::NotOrderable { .. })), "{raw}");
    }
    for (raw, code) in [
        ("$orderby=Party/PartyName", "BG"),
        ("$orderby=Party/PartyName&culture=de-AT", "DE"),
        ("$orderby=Party/PartyName&lang=fr", "FR"),
        ("$orderby=Party/PartyName&culture=deu&lang=fr", "BG"),
    ] {
        let column = list(raw).expect("orderable").order.remove(0).0;
        let culture = Culture::of_tag(code).expect("a language");
        assert_eq!((column.name, column.part), ("Name", ColumnPart::Shown(culture)), "{raw}");
    }
}

#[test]
fn options_without_use_are_refused() {
    assert_eq!(check_options(&query("$top=1&options=skipnulls"), &["$top"]), Ok(()));
    assert_eq!(check_options(&query("$top=1&$filter=A eq 1"), &["$filter"]), Err(EntityRefusal::OutOfPlace("$top")));
    let resource = Url::parse("Crm_Customers/$count", "").map(|url| url.resource);
    assert_eq!(resource, Ok(Resource::Count("Crm_Customers".to_owned())));
}

const CUSTOMER: &str =
    r#""Number":"K-2001","Party":{"@odata.id":"General_Contacts_Companies(c0000000-0000-4000-8000-000000001001)"}"#;

#[test]
fn a_new_entity_is_filled_in_and_stamped() {
    let changes = create("Crm_Customers", &format!("{{{CUSTOMER}}}")).expect("enough");
    for (name, value) in [
        ("Active", EntityValue::Boolean(true)),
        ("GracePeriodDays", EntityValue::Integer(0)),
        ("CreditLimit", EntityValue::Null),
        ("CreationUser", EntityValue::text("alice")),
        ("UpdateTime", EntityValue::Instant(1_000_000)),
        ("SalesPerson", EntityValue::Null),
    ] {
        assert_eq!(value_of(&changes, name), Some(&value), "{name}");
    }
    let unit = create("General_MeasurementUnits", r#"{"Code":"t","Name":{"en":"Ton"}}"#).expect("enough");
    assert_eq!(value_of(&unit, "Multiplier"), Some(&EntityValue::Decimal(FixedDecimal(FixedDecimal::ONE))));
    assert_eq!(value_of(&unit, "Name"), Some(&EntityValue::Names(vec![("EN".to_owned(), "Ton".to_owned())])));
}

#[test]
fn what_must_be_there_and_is_not_is_named() {
    for (set, body, member) in [
        ("Crm_Customers", "{}", "Number"),
        ("Crm_Customers", r#"{"Number":"K-2001"}"#, "Party"),
        ("Crm_Customers", r#"{"Number":""}"#, "Number"),
        ("Crm_Customers", r#"{"Number":null}"#, "Number"),
        ("Crm_Customers", r#"{"Active":null}"#, "Active"),
        ("Crm_Customers", r#"{"Party":null}"#, "Party"),
        ("General_MeasurementUnits", r#"{"Code":"t","Name":{}}"#, "Name"),
    ] {
        assert_eq!(create(set, body).map(|_| ()), Err(EntityRefusal::Missing { member }), "{body}");
    }
    assert_eq!(
        update("Crm_Customers", r#"{"Number":null}"#).map(|_| ()),
        Err(EntityRefusal::Missing { member: "Number" })
    );
}

#[test]
fn an_update_changes_what_it_names_in_its_order() {
    let body = format!(
        r##"{{"@odata.type":"#Erp.Crm_Sales_Customer","ThruDate":"2026-01-01","ObjectVersion":3,
        "CreditLimit":{{"@odata.type":"Erp.Amount","Value":"12.50","Currency":"eur"}},
        "SalesPerson@odata.bind":"{ROOT}Crm_SalesPersons({KEY})","FromDate":null}}"##
    );
    let changes = update("Crm_Customers", &body).expect("valid");
    let order: Vec<_> = changes.assignments.iter().map(|assignment| assignment.member.name()).collect();
    assert_eq!(order, ["ThruDate", "CreditLimit", "SalesPerson", "FromDate", "UpdateTime", "UpdateUser"]);
    assert_eq!(changes.version, Some(3));
    let (value, code) = (FixedDecimal(12_500_000), "eur".to_owned());
    assert_eq!(value_of(&changes, "CreditLimit"), Some(&EntityValue::Measure { value, code }));
    assert_eq!(value_of(&changes, "SalesPerson"), Some(&EntityValue::Guid(KEY.parse().expect("a guid"))));
    assert!(update("Crm_Customers", "{}").expect("valid").assignments.is_empty(), "nothing named, nothing stamped");
}

#[test]
fn values_of_another_type_are_refused() {
    for (set, body) in [
        ("Crm_Customers", "[]"),
        ("Crm_Customers", r#"{"Active":1}"#),
        ("Crm_Customers", r#"{"Number":7}"#),
        ("Crm_Customers", r#"{"GracePeriodDays":2147483648}"#),
        ("Crm_Customers", r#"{"GracePeriodDays":"7"}"#),
        ("Crm_Customers", r#"{"FromDate":"01.02.2026"}"#),
        ("Crm_Customers", r#"{"CreditLimit":5}"#),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":5}}"#),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":5,"Unit":"kg"}}"#),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":1e13,"Currency":"EUR"}}"#),
        ("Crm_Customers", r#"{"Party":"General_Contacts_Companies(c0000000-0000-4000-8000-000000001001)"}"#),
        ("Crm_Customers", r#"{"Party":{"@odata.id":"Crm_Customers(c0000000-0000-4000-8000-000000001001)"}}"#),
        ("Crm_Customers", r#"{"Party@odata.bind":7}"#),
        ("Crm_Customers", r#"{"Number@odata.bind":"x"}"#),
        ("Crm_Customers", r#"{"@odata.type":"Erp.Other"}"#),
        (
            "Crm_Customers",
            r#"{"SalesPerson":null,"SalesPerson@odata.bind":"Crm_SalesPersons(c0000000-0000-4000-8000-000000001001)"}"#,
        ),
        ("Crm_Customers", r#"{"ObjectVersion":"1"}"#),
        ("General_Products_Products", r#"{"Name":"Hammer"}"#),
        ("General_Products_Products", r#"{"Name":{"english":"Hammer"}}"#),
        ("General_Products_Products", r#"{"Name":{"en":"Hammer","EN":"Hammer"}}"#),
        ("General_Products_Products", r#"{"Name":{"en":null}}"#),
        ("General_Products_Products", r#"{"ABCClass":"D"}"#),
    ] {
        assert!(matches!(update(set, body), Err(EntityRefusal::WrongValue { .. })), "{body}");
    }
}

#[test]
fn each_part_of_a_value_that_is_wrong_is_named() {
    for (set, body, message) in [
        (
            "Crm_Customers",
            r#"{"CreditLimit":{"Value":0.0000001,"Currency":"EUR"}}"#,
            "'CreditLimit/Value' takes at most 6 decimals.",
        ),
        (
            "Crm_Sales_SalesOrderLines",
            r#"{"Quantity":{"Value":"1.2345678","Unit":"pcs"}}"#,
            "'Quantity/Value' takes at most 6 decimals.",
        ),
        ("General_Products_Products", r#"{"ScrapRate":0.0000001}"#, "'ScrapRate' takes at most 6 decimals."),
        (
            "General_Products_Products",
            r#"{"ScrapRate":1e13}"#,
            "'ScrapRate' takes a number from -9223372036854 to 9223372036854.",
        ),
        ("General_Products_Products", r#"{"ScrapRate":true}"#, "'ScrapRate' takes a number."),
        (
            "Crm_Customers",
            r#"{"CreditLimit":{"Value":"much","Currency":"EUR"}}"#,
            "'CreditLimit/Value' takes a number.",
        ),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":1,"Currency":7}}"#, "'CreditLimit/Currency' takes a code."),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":1,"Currency":""}}"#, "'CreditLimit/Currency' takes a code."),
        ("Crm_Customers", r#"{"CreditLimit":{"Value":1}}"#, "'CreditLimit' takes an object of Value and Currency."),
        ("Crm_Customers", r#"{"CreditLimit":7}"#, "'CreditLimit' takes an object of Value and Currency."),
    ] {
        assert_eq!(update(set, body).expect_err(body).body().message, message, "{body}");
    }
}

/// `OData` Protocol 4.01 §11.4.3, and §11.4.2 for computed members.
#[test]
fn what_is_not_the_callers_to_write_is_passed_over() {
    for (set, body) in [
        ("Crm_Customers", r#"{"Id":"c0000000-0000-4000-8000-000000000000"}"#),
        ("Crm_Customers", r#"{"CreationUser":"x","UpdateTime":null,"AggregateLastUpdateTimeUtc":7}"#),
        ("Crm_Customers", r#"{"DisplayText":"x","Party@odata.navigationLink":"x","Number@odata.type":"x"}"#),
        ("Crm_Sales_SalesOrders", r#"{"State":"Released","Void":true}"#),
        ("Crm_Sales_SalesOrders", r#"{"DocumentCurrency@odata.bind":"General_Currencies(x)"}"#),
        ("Crm_Sales_SalesOrderLines", r#"{"SalesOrder":{"@odata.id":"Crm_Sales_SalesOrders(x)"}}"#),
        ("General_Contacts_Companies", r#"{"PartyName":{"EN":"x"}}"#),
    ] {
        let changes = update(set, body).unwrap_or_else(|refusal| panic!("{body}: {refusal:?}"));
        assert!(changes.assignments.is_empty() && changes.units.is_empty(), "{body}");
    }
    let body = format!(r#"{{{CUSTOMER},"ObjectVersion":9,"Id":"x","CreationUser":"mallory","CreationTime":7}}"#);
    let changes = create("Crm_Customers", &body).expect("what the server fills in is passed over");
    assert_eq!(value_of(&changes, "CreationUser"), Some(&EntityValue::text("alice")));
    assert_eq!(changes.version, None);
}

/// `domain-api.md` §3.4: in either order of the members.
#[test]
fn a_unit_that_is_bound_is_the_quantitys() {
    let (pieces, boxes) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let lines = entity("Crm_Sales_SalesOrderLines");
    let held = |_: &str| EntityValue::Guid(pieces);
    let of = |unit: Uuid| format!(r#""QuantityUnit":{{"@odata.id":"General_MeasurementUnits({unit})"}}"#);
    let quantity = r#""Quantity":{"Value":1,"Unit":"box"}"#;
    for (body, written, agree) in [
        (of(pieces), None, true),
        (of(boxes), None, false),
        (r#""QuantityUnit":null"#.to_owned(), None, false),
        (format!("{},{quantity}", of(boxes)), Some(boxes), true),
        (format!("{quantity},{}", of(boxes)), Some(boxes), true),
        (format!("{},{quantity}", of(pieces)), Some(boxes), false),
        (quantity.to_owned(), Some(boxes), true),
    ] {
        let mut changes = update("Crm_Sales_SalesOrderLines", &format!("{{{body}}}")).expect("valid");
        if written.is_some() {
            changes.follow(lines, "Quantity", written);
        }
        let refusal = EntityRefusal::OtherUnit { member: "QuantityUnit", quantity: "Quantity" };
        assert_eq!(changes.check_units(held), if agree { Ok(()) } else { Err(refusal) }, "{body}");
    }
}

#[test]
fn what_a_body_may_not_hold_is_told_apart() {
    for body in [r#"{"Numbr":"x"}"#, r#"{"number":"x"}"#, r#"{"CreditLimitValue":1}"#] {
        assert!(matches!(update("Crm_Customers", body), Err(EntityRefusal::UnknownMember { .. })), "{body}");
    }
    for body in [
        r#"{"Party":{"Name":{"EN":"Quay Foods"}}}"#,
        r#"{"@erpnet.action":"merge"}"#,
        r#"{"Number@x.y":1}"#,
        r#"{"Products":[]}"#,
    ] {
        assert!(matches!(update("Crm_Customers", body), Err(EntityRefusal::Unsupported(_))), "{body}");
    }
    let long = format!(r#"{{"Number":"{}"}}"#, "ä".repeat(33));
    assert_eq!(
        update("Crm_Customers", &long).map(|_| ()),
        Err(EntityRefusal::TooLong { member: "Number", longest: 32 })
    );
    assert!(update("Crm_Customers", &long.replacen('ä', "", 1)).is_ok());
}

fn held(set: &str, values: &[(&str, EntityValue)]) -> AggregateState {
    let fields = held_fields(entity(set));
    let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    AggregateState::new(
        entity(set),
        fields.iter().map(|field| value(field.name).unwrap_or(EntityValue::Null)).collect(),
    )
}

#[test]
fn a_version_that_is_not_the_current_one_is_refused() {
    let held = held("Crm_Customers", &[(VERSION, EntityValue::Integer(4))]);
    let check = |body: &str| held.check(entity("Crm_Customers"), &update("Crm_Customers", body).expect("valid"));
    assert_eq!(check(r#"{"ObjectVersion":4,"GracePeriodDays":1}"#), Ok(()));
    assert_eq!(check(r#"{"GracePeriodDays":1}"#), Ok(()));
    assert_eq!(
        check(r#"{"ObjectVersion":3,"GracePeriodDays":1}"#),
        Err(EntityRefusal::OutOfDate { given: 3, current: 4 })
    );
}

#[test]
fn a_tag_that_is_not_the_current_one_is_refused() {
    let held = held("Crm_Customers", &[(VERSION, EntityValue::Integer(4))]);
    let tags = |header: &str| Some(EntityTags::parse(header).expect("tags"));
    let check = |if_match, if_none_match| held.check_preconditions(&Preconditions { if_match, if_none_match });
    let failed = Err(EntityRefusal::PreconditionFailed { current: 4 });
    assert_eq!(check(None, None), Ok(()));
    assert_eq!(check(tags("*"), None), Ok(()));
    assert_eq!(check(tags("W/\"3\", \"4\""), None), Ok(()));
    assert_eq!(check(tags("W/\"3\""), None), failed);
    assert_eq!(check(tags("\"04\""), None), failed);
    assert_eq!(check(None, tags("W/\"3\"")), Ok(()));
    assert_eq!(check(None, tags("*")), failed);
}

#[test]
fn dates_stay_in_order_with_what_is_already_there() {
    const DAY: i64 = 86_400_000_000;
    let held = held("Crm_Customers", &[("FromDate", EntityValue::Instant(5 * DAY)), ("ThruDate", EntityValue::Null)]);
    let check = |body: &str| held.check(entity("Crm_Customers"), &update("Crm_Customers", body).expect("valid"));
    assert_eq!(check(r#"{"ThruDate":"1970-01-06"}"#), Ok(()));
    assert_eq!(check(r#"{"ThruDate":"1970-01-02","FromDate":null}"#), Ok(()));
    let refused = check(r#"{"ThruDate":"1970-01-02"}"#).expect_err("before the start");
    let message = refused.body().message;
    for part in ["1970-01-06", "1970-01-02", "R27159"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_released_document_is_closed_for_itself_and_its_lines() {
    for set in ["Crm_Sales_SalesOrders", "Crm_Sales_SalesOrderLines"] {
        for (state, expected) in [(20, Ok(())), (30, Err(EntityRefusal::Closed { table: "Crm_Sales_Orders" }))] {
            let held = held(set, &[("State", EntityValue::Integer(state))]);
            assert_eq!(held.check_open(), expected, "{set} {state}");
            assert_eq!(held.check(entity(set), &Changes::default()), expected, "{set} {state}");
        }
    }
}

#[test]
fn a_lines_amounts_are_in_the_orders_currency() {
    let held = held("Crm_Sales_SalesOrderLines", &[("CurrencySign", EntityValue::text("EUR"))]);
    let check = |currency: &str| {
        let body = format!(r#"{{"UnitPrice":{{"Value":9,"Currency":"{currency}"}}}}"#);
        let changes = update("Crm_Sales_SalesOrderLines", &body).expect("valid");
        held.check(entity("Crm_Sales_SalesOrderLines"), &changes)
    };
    assert_eq!(check("EUR"), Ok(()));
    assert!(matches!(check("USD"), Err(EntityRefusal::OtherCurrency { member: "UnitPrice", .. })));
}

#[test]
fn stamps_only_grow() {
    let held = held("Crm_Customers", &[(CHANGED_AT, EntityValue::Integer(100))]);
    assert_eq!(held.next_stamp(Timestamp(200)), Timestamp(200));
    assert_eq!(held.next_stamp(Timestamp(100)), Timestamp(101));
    assert_eq!(held.next_stamp(Timestamp(5)), Timestamp(101));
    assert_eq!(AggregateState::nothing(entity("Crm_Customers")).next_stamp(Timestamp(5)), Timestamp(5));
}
