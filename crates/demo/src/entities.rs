//! Rows of the entities (`demo.md` §5), the same in every demo. The companies are fictitious.

use model::entities::{Assignment, Author, EntityType, EntityValue, FixedDecimal, Member, initial, target_of};
use uuid::Uuid;

/// A row with a value for every stored member, in the order of the members.
pub struct Row {
    pub key: Uuid,
    pub assignments: Vec<Assignment>,
}

const CUSTOMER_COUNT: u64 = 520;
const PRODUCT_COUNT: u64 = 240;
const ORDER_COUNT: u64 = 700;
const DAY: i64 = 86_400_000_000;
/// 2026-01-05.
const FIRST_DAY: i64 = 20_458 * DAY;

const ORDER_LINES: &str = "Crm_Sales_SalesOrderLines";
/// The state *released* in `General_DocumentState`.
const RELEASED: i64 = 30;

/// Every table with its rows. Referenced tables come before those that reference them.
pub fn tables(author: Author<'_>) -> Vec<(&'static EntityType, Vec<Row>)> {
    let rows = |set, key: fn(u64) -> Uuid, count, fill: fn(u64) -> Given| {
        let entity = target_of(set);
        (entity, (0..count).map(|n| row(entity, key(n), fill(n), author)).collect())
    };
    vec![
        rows("General_Currencies_Currencies", currency_key, count(CURRENCY_SIGNS), currency),
        rows("General_Products_MeasurementUnits", unit_key, count(UNITS), unit),
        rows("General_Products_ProductGroups", group_key, count(GROUPS), group),
        rows("General_Contacts_Persons", person_key, count(PEOPLE), person),
        rows("Crm_SalesForce_SalesPersons", sales_person_key, count(PEOPLE), sales_person),
        rows("General_Contacts_Companies", company_key, CUSTOMER_COUNT, company),
        rows("Crm_Sales_Customers", customer_key, CUSTOMER_COUNT, customer),
        rows("General_Products_Products", product_key, PRODUCT_COUNT, product),
        rows("Crm_Sales_SalesOrders", order_key, ORDER_COUNT, order),
        (target_of(ORDER_LINES), lines(author)),
    ]
}

type Given = Vec<(&'static str, EntityValue)>;

fn row(entity: &'static EntityType, key: Uuid, mut given: Given, author: Author<'_>) -> Row {
    let mut assignments = Vec::new();
    for member in entity.members {
        let at = given.iter().position(|(name, _)| *name == member.name());
        let value = match (at, member) {
            (Some(at), _) => given.swap_remove(at).1,
            (None, Member::Attribute(attribute)) if !attribute.stored() => continue,
            (None, Member::Attribute(attribute)) => initial(attribute, author),
            (None, Member::Reference(_)) => EntityValue::Null,
        };
        assignments.push(Assignment { member, value });
    }
    Row { key, assignments }
}

fn count<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).expect("a short list")
}

fn pick<T: Copy>(list: &[T], n: u64) -> T {
    list[usize::try_from(n % count(list)).expect("less than the length of a short list")]
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).expect("a small number")
}

/// A key whose last twelve digits show the number in decimal.
fn key(first: char, n: u64) -> Uuid {
    let text = format!("{first}0000000-0000-4000-8000-{n:012}");
    text.parse().expect("hexadecimal digits in the form of a UUID")
}

fn currency_key(n: u64) -> Uuid {
    key('1', n + 1)
}

fn unit_key(n: u64) -> Uuid {
    key('2', n + 1)
}

fn group_key(n: u64) -> Uuid {
    key('3', n + 1)
}

fn person_key(n: u64) -> Uuid {
    key('4', n + 1)
}

fn sales_person_key(n: u64) -> Uuid {
    key('5', n + 1)
}

fn company_key(n: u64) -> Uuid {
    key('a', n + 1)
}

fn product_key(n: u64) -> Uuid {
    key('b', n + 1)
}

fn customer_key(n: u64) -> Uuid {
    key('c', n + 1001)
}

fn order_key(n: u64) -> Uuid {
    key('d', n + 77)
}

fn names(english: &str, german: &str, bulgarian: &str) -> EntityValue {
    let pairs = [("EN", english), ("DE", german), ("BG", bulgarian)];
    EntityValue::Names(pairs.map(|(language, text)| (language.to_owned(), text.to_owned())).to_vec())
}

fn english(text: String) -> EntityValue {
    EntityValue::Names(vec![("EN".to_owned(), text)])
}

fn measure(value: i64, code: &str) -> EntityValue {
    EntityValue::Measure { value: FixedDecimal(value * FixedDecimal::ONE), code: code.to_owned() }
}

const CURRENCY_SIGNS: &[(&str, &str)] = &[
    ("EUR", "Euro"),
    ("USD", "United States dollar"),
    ("GBP", "Pound sterling"),
    ("CHF", "Swiss franc"),
    ("SEK", "Swedish krona"),
];

fn currency(n: u64) -> Given {
    let (sign, name) = pick(CURRENCY_SIGNS, n);
    vec![
        ("CurrencySign", EntityValue::text(sign)),
        ("Name", EntityValue::text(name)),
        ("ShowOrder", EntityValue::Integer(signed(n) + 1)),
    ]
}

const UNITS: &[(&str, [&str; 3], i64)] = &[
    ("pcs", ["Piece", "Stück", "Брой"], 1),
    ("box", ["Box", "Schachtel", "Кутия"], 12),
    ("kg", ["Kilogram", "Kilogramm", "Килограм"], 1),
    ("m", ["Metre", "Meter", "Метър"], 1),
    ("l", ["Litre", "Liter", "Литър"], 1),
];

fn unit(n: u64) -> Given {
    let (code, [en, de, bg], multiplier) = pick(UNITS, n);
    vec![
        ("Code", EntityValue::text(code)),
        ("Name", names(en, de, bg)),
        ("Multiplier", EntityValue::Decimal(FixedDecimal(multiplier * FixedDecimal::ONE))),
        ("IsDefaultUnit", EntityValue::Boolean(n == 0)),
    ]
}

const GROUPS: &[(&str, [&str; 3])] = &[
    ("GOODS", ["Goods", "Waren", "Стоки"]),
    ("HAND", ["Hand tools", "Handwerkzeuge", "Ръчни инструменти"]),
    ("GARDEN", ["Garden", "Garten", "Градина"]),
    ("FIX", ["Fixings", "Befestigung", "Крепежни елементи"]),
    ("LIGHT", ["Lighting", "Beleuchtung", "Осветление"]),
];

fn group(n: u64) -> Given {
    let (code, [en, de, bg]) = pick(GROUPS, n);
    let mut given = vec![
        ("Code", EntityValue::text(code)),
        ("Name", names(en, de, bg)),
        ("DefaultMeasurementUnit", EntityValue::Guid(unit_key(0))),
    ];
    if n > 0 {
        given.push(("ParentGroup", EntityValue::Guid(group_key(0))));
    }
    given
}

const PEOPLE: &[(&str, &str)] = &[
    ("Ines", "Albrecht"),
    ("Tomas", "Brandt"),
    ("Mira", "Collins"),
    ("Jonas", "Dimov"),
    ("Petra", "Eklund"),
    ("Victor", "Farrow"),
    ("Lena", "Georgieva"),
    ("Oskar", "Holm"),
];

fn person(n: u64) -> Given {
    let (first, last) = pick(PEOPLE, n);
    vec![
        ("PartyCode", EntityValue::Text(format!("PER-{:03}", n + 1))),
        ("FirstName", english(first.to_owned())),
        ("LastName", english(last.to_owned())),
        ("City", city(n)),
    ]
}

fn sales_person(n: u64) -> Given {
    vec![("Person", EntityValue::Guid(person_key(n)))]
}

const PLACES: &[&str] = &[
    "Harbour",
    "Alder",
    "Birchwood",
    "Copper Hill",
    "Dunmore",
    "Eastgate",
    "Fernley",
    "Greyfield",
    "Hazelbank",
    "Ironbridge Road",
    "Juniper",
    "Kestrel",
    "Larkhill",
    "Millbrook",
    "Northcote",
    "Oakham Lane",
    "Pinecrest",
    "Quarry Bank",
    "Ravenhill",
    "Silverdale",
    "Thornbury",
    "Upland",
    "Violet Street",
    "Westmere",
    "Yarrow",
    "Zephyr",
];
const TRADES: &[&str] = &[
    "Tools",
    "Foods",
    "Timber",
    "Textiles",
    "Logistics",
    "Glass",
    "Paper",
    "Bakery",
    "Instruments",
    "Ceramics",
    "Lighting",
    "Packaging",
    "Gardens",
    "Marine",
    "Optics",
    "Furniture",
    "Print",
    "Brewing",
    "Plastics",
    "Robotics",
];
const FORMS: &[&str] = &["Ltd", "GmbH", "AD", "SARL", "AB"];
const CITIES: &[[&str; 3]] = &[
    ["Varna", "Warna", "Варна"],
    ["Vienna", "Wien", "Виена"],
    ["Munich", "München", "Мюнхен"],
    ["Cologne", "Köln", "Кьолн"],
    ["Gothenburg", "Göteborg", "Гьотеборг"],
    ["Geneva", "Genf", "Женева"],
];

fn city(n: u64) -> EntityValue {
    let [en, de, bg] = pick(CITIES, n);
    names(en, de, bg)
}

/// The first 26 × 20 names are all different.
fn company_name(n: u64) -> String {
    let (turn, place) = (n / count(PLACES), n % count(PLACES));
    format!("{} {} {}", pick(PLACES, place), pick(TRADES, turn + place), pick(FORMS, n))
}

fn company(n: u64) -> Given {
    let street = format!("{} Mill Lane", n % 90 + 1);
    vec![
        ("PartyCode", EntityValue::Text(format!("COM-{:04}", n + 1))),
        ("Name", english(company_name(n))),
        ("RegistrationNumber", EntityValue::Text(format!("{}", 200_100_000 + n * 37))),
        ("RegistrationPrimaryAddress", english(street)),
        ("City", city(n)),
        ("IsVATRegistered", EntityValue::Boolean(!n.is_multiple_of(4))),
    ]
}

fn customer(n: u64) -> Given {
    let mut given = vec![
        ("Number", EntityValue::Text(format!("K-{}", n + 1001))),
        ("Active", EntityValue::Boolean(n % 11 != 10)),
        ("CreditLimit", measure(5000 + signed(n % 7) * 2500, "EUR")),
        ("GracePeriodDays", EntityValue::Integer(7 + signed(n % 3) * 7)),
        ("DefaultPaymentTermDays", EntityValue::Integer(14 + signed(n % 2) * 16)),
        ("Party", EntityValue::Guid(company_key(n))),
        ("DefaultCurrency", EntityValue::Guid(currency_key(0))),
    ];
    if !n.is_multiple_of(5) {
        given.push(("SalesPerson", EntityValue::Guid(sales_person_key(n % count(PEOPLE)))));
        given.push(("FromDate", EntityValue::Instant(FIRST_DAY + signed(n % 300) * DAY)));
    }
    given
}

const THINGS: &[([&str; 3], u64)] = &[
    (["Hammer", "Hammer", "Чук"], 1),
    (["Screwdriver", "Schraubendreher", "Отвертка"], 1),
    (["Pliers", "Zange", "Клещи"], 1),
    (["Chisel", "Meißel", "Длето"], 1),
    (["Spade", "Spaten", "Лопата"], 2),
    (["Rake", "Rechen", "Гребло"], 2),
    (["Watering can", "Gießkanne", "Лейка"], 2),
    (["Screw", "Schraube", "Винт"], 3),
    (["Nail", "Nagel", "Пирон"], 3),
    (["Bracket", "Winkel", "Скоба"], 3),
    (["Lamp", "Lampe", "Лампа"], 4),
    (["Torch", "Taschenlampe", "Фенер"], 4),
];
const SORTS: &[[&str; 3]] = &[
    ["", "", ""],
    [", small", ", klein", ", малък модел"],
    [", large", ", groß", ", голям модел"],
    [", steel", ", Stahl", ", стомана"],
    [", brass", ", Messing", ", месинг"],
    [", black", ", schwarz", ", черен цвят"],
    [", red", ", rot", ", червен цвят"],
    [", blue", ", blau", ", син цвят"],
    [", long", ", lang", ", дълъг модел"],
    [", short", ", kurz", ", къс модел"],
];

fn price(product: u64) -> i64 {
    signed(product * 37 % 180) + 4
}

fn product(n: u64) -> Given {
    let (thing, group) = pick(THINGS, n);
    let sort = pick(SORTS, n / count(THINGS));
    let series = n / (count(THINGS) * count(SORTS));
    let mark = if series == 0 { String::new() } else { format!(" {}", series + 1) };
    let [en, de, bg] = [0, 1, 2].map(|i| format!("{}{}{mark}", thing[i], sort[i]));
    vec![
        ("PartNumber", EntityValue::Text(format!("P-{:03}", n + 1))),
        ("Name", names(&en, &de, &bg)),
        ("ABCClass", EntityValue::Rank(signed(n % 3))),
        ("IsFeatured", EntityValue::Boolean(n.is_multiple_of(9))),
        ("StandardPricePerLot", measure(price(n), "EUR")),
        ("StandardLotSizeBase", measure(1, "pcs")),
        ("GuaranteePeriodDays", EntityValue::Integer(730)),
        ("ProductGroup", EntityValue::Guid(group_key(group))),
        ("MeasurementUnit", EntityValue::Guid(unit_key(0))),
        ("CostingCurrency", EntityValue::Guid(currency_key(0))),
    ]
}

/// The first order is released, the second is new.
const STATES: &[i64] = &[RELEASED, 0, 10, 40, 20];

fn order_currency(n: u64) -> u64 {
    u64::from(n % 3 == 2)
}

fn order(n: u64) -> Given {
    let date = FIRST_DAY + signed(n * 5 % 300) * DAY;
    vec![
        ("DocumentNo", EntityValue::Text(format!("SO-{}", n + 77))),
        ("DocumentDate", EntityValue::Instant(date)),
        ("State", EntityValue::Rank(pick(STATES, n))),
        ("RequiredDeliveryDate", EntityValue::Instant(date + 10 * DAY)),
        ("CustomerPurchaseOrderNo", EntityValue::Text(format!("PO-{}", 4000 + n * 3))),
        ("Customer", EntityValue::Guid(customer_key(n * 7 % CUSTOMER_COUNT))),
        ("DocumentCurrency", EntityValue::Guid(currency_key(order_currency(n)))),
        ("SalesPerson", EntityValue::Guid(sales_person_key(n % count(PEOPLE)))),
    ]
}

/// The lines of orders. The first order has two lines of 2 and 5 pieces; the others have one to four lines.
fn lines(author: Author<'_>) -> Vec<Row> {
    let entity = target_of(ORDER_LINES);
    let mut rows = Vec::new();
    for n in 0..ORDER_COUNT {
        for line in 0..=((n + 3) % 4).min(if n == 0 { 1 } else { 3 }) {
            let product = (n * 11 + line) % PRODUCT_COUNT;
            let pieces = if n == 0 { 2 + signed(line) * 3 } else { 1 + signed((n * 3 + line * 5) % 20) };
            let (sign, _) = pick(CURRENCY_SIGNS, order_currency(n));
            let given = vec![
                ("LineNo", EntityValue::Integer(10 * (signed(line) + 1))),
                ("Quantity", measure(pieces, "pcs")),
                ("UnitPrice", measure(price(product), sign)),
                ("LineAmount", measure(price(product) * pieces, sign)),
                ("SalesOrder", EntityValue::Guid(order_key(n))),
                ("Product", EntityValue::Guid(product_key(product))),
                ("QuantityUnit", EntityValue::Guid(unit_key(0))),
            ];
            rows.push(row(entity, key('e', (n + 77) * 100 + line), given, author));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use model::{Culture, Timestamp};

    fn all() -> Vec<(&'static EntityType, Vec<Row>)> {
        let now = Timestamp::from_seconds(1_800_000_000);
        tables(Author { login: "admin", now })
    }

    #[test]
    fn the_demo_has_customers_products_and_orders_enough_to_page_through() {
        let counts: Vec<_> = all().iter().map(|(entity, rows)| (entity.table, rows.len())).collect();
        for (table, least) in [
            ("Crm_Customers", 500),
            ("Gen_Companies", 500),
            ("Gen_Products", 200),
            ("Crm_Sales_Orders", 500),
            ("Crm_Sales_Order_Lines", 1000),
        ] {
            assert!(counts.iter().any(|(name, rows)| *name == table && *rows >= least), "{table}: {counts:?}");
        }
    }

    #[test]
    fn every_value_the_model_requires_is_there_and_what_is_unique_is() {
        for (entity, rows) in all() {
            let mut seen = HashSet::new();
            for row in &rows {
                assert!(seen.insert(row.key.to_string()), "{} {}", entity.set, row.key);
                for assignment in &row.assignments {
                    let (nullable, unique) = match assignment.member {
                        Member::Attribute(attribute) => (attribute.nullable, attribute.unique),
                        Member::Reference(reference) => (reference.nullable, false),
                    };
                    assert!(nullable || assignment.value != EntityValue::Null, "{assignment:?}");
                    assert!(
                        !unique || seen.insert(assignment.value.shown(Culture::ENGLISH).to_owned()),
                        "{assignment:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_reference_leads_to_a_row_already_there() {
        let mut known = HashSet::new();
        for (entity, rows) in all() {
            for row in &rows {
                for assignment in &row.assignments {
                    if let (Member::Reference(reference), EntityValue::Guid(key)) =
                        (assignment.member, &assignment.value)
                    {
                        assert!(known.contains(&(reference.target, *key)), "{assignment:?}");
                    }
                }
                known.insert((entity.set, row.key));
            }
        }
    }

    #[test]
    fn no_two_companies_share_a_name() {
        let names: HashSet<_> = (0..CUSTOMER_COUNT).map(company_name).collect();
        assert_eq!(names.len(), 520);
        assert_eq!(company_name(0), "Harbour Tools Ltd");
    }
}
