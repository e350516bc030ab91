//! The demo model (`domain-api.md` §9): sets that reference only served sets.

use crate::entities::schema::{
    AggregateRule, EntityType, Enumeration, Member, ValueSource, amount, choice, decimal, flag, instant, integer,
    names, quantity, reference, text,
};
use crate::entities::{EntityRefusal, NamedSet};

/// All sets, in the order of the service document.
pub static SETS: &[&EntityType] = &[
    &CUSTOMERS,
    &SALES_PERSONS,
    &SALES_ORDERS,
    &SALES_ORDER_LINES,
    &COMPANIES,
    &PERSONS,
    &PRODUCTS,
    &PRODUCT_GROUPS,
    &MEASUREMENT_UNITS,
    &CURRENCIES,
];

/// Former set names, which are still accepted (`domain-api.md` §1.2).
static RENAMED: &[(&str, &EntityType)] = &[
    ("Crm_Customers", &CUSTOMERS),
    ("Crm_SalesPersons", &SALES_PERSONS),
    ("General_MeasurementUnits", &MEASUREMENT_UNITS),
    ("General_Currencies", &CURRENCIES),
];

pub fn find_set(name: &str) -> Result<NamedSet, EntityRefusal> {
    let current = SETS.iter().find(|entity| entity.set == name).copied();
    let renamed = || RENAMED.iter().find(|(old, _)| *old == name).map(|(_, entity)| *entity);
    match current.or_else(renamed) {
        Some(entity) => Ok(NamedSet { entity, asked: name.to_owned() }),
        None => Err(EntityRefusal::UnknownSet(name.to_owned())),
    }
}

/// The entity type of a reference's target set.
pub fn target_of(set: &'static str) -> &'static EntityType {
    let found = SETS.iter().find(|entity| entity.set == set);
    found.expect("a test checks the target of every reference")
}

/// Whether ids of `entity` may use this set name: its current one, a former one, or that of a base type.
pub fn answers_to(entity: &EntityType, set: &str) -> bool {
    let renamed = || RENAMED.iter().any(|(old, renamed)| *old == set && renamed.set == entity.set);
    entity.set == set || entity.bases.contains(&set) || renamed()
}

const PARTIES: &[&str] = &["General_Contacts_Parties"];

static DOCUMENT_STATE: Enumeration = Enumeration {
    name: "General_DocumentState",
    members: &[
        ("New", 0),
        ("Adjustment", 5),
        ("Planned", 10),
        ("FirmPlanned", 20),
        ("Released", RELEASED),
        ("Completed", 40),
        ("Closed", 50),
    ],
};

const RELEASED: i64 = 30;

static ABC_CLASS: Enumeration =
    Enumeration { name: "General_Products_ABCClass", members: &[("A", 0), ("B", 1), ("C", 2)] };

const CREATION_TIME: Member = instant("CreationTime").required().from(ValueSource::CreatedAt).member();
const CREATION_USER: Member = text("CreationUser", 128).required().from(ValueSource::CreatedBy).member();
const UPDATE_TIME: Member = instant("UpdateTime").required().from(ValueSource::UpdatedAt).member();
const UPDATE_USER: Member = text("UpdateUser", 128).required().from(ValueSource::UpdatedBy).member();

static CUSTOMERS: EntityType = EntityType {
    set: "Crm_Sales_Customers",
    name: "Crm_Sales_Customer",
    table: "Crm_Customers",
    bases: &[],
    members: &[
        flag("Active").or(1).member(),
        text("Number", 32).unique().member(),
        flag("AllowUseAsPrimaryCustomer").or(1).member(),
        flag("AllowUseAsShipToCustomer").or(1).member(),
        amount("CreditLimit").member(),
        integer("DefaultDeliveryTermDays").member(),
        integer("DefaultPaymentStartDays").member(),
        integer("DefaultPaymentTermDays").member(),
        integer("GracePeriodDays").or(0).member(),
        flag("PersistSalesOrdersLots").or(0).member(),
        instant("FromDate").member(),
        instant("ThruDate").member(),
        CREATION_TIME,
        CREATION_USER,
        UPDATE_TIME,
        UPDATE_USER,
        reference("Party", COMPANIES.set).required().filterable().member(),
        reference("SalesPerson", SALES_PERSONS.set).member(),
        reference("DefaultCurrency", CURRENCIES.set).member(),
    ],
    collections: &["ExternalAccess", "Products"],
    display: &["Party", "PartyName"],
    rules: &[AggregateRule::InOrder { from: "FromDate", thru: "ThruDate", number: 27159 }],
};

static SALES_PERSONS: EntityType = EntityType {
    set: "Crm_SalesForce_SalesPersons",
    name: "Crm_SalesForce_SalesPerson",
    table: "Crm_Sales_Persons",
    bases: &[],
    members: &[flag("IsActive").or(1).member(), reference("Person", PERSONS.set).required().filterable().member()],
    collections: &[],
    display: &["Person", "LastName"],
    rules: &[],
};

static SALES_ORDERS: EntityType = EntityType {
    set: "Crm_Sales_SalesOrders",
    name: "Crm_Sales_SalesOrder",
    table: "Crm_Sales_Orders",
    bases: &["General_Documents_Documents"],
    members: &[
        text("DocumentNo", 32).unique().member(),
        instant("DocumentDate").required().member(),
        text("DocumentNotes", 4000).member(),
        choice("State", &DOCUMENT_STATE).required().from(ValueSource::Fixed(0)).member(),
        flag("Void").required().from(ValueSource::Fixed(0)).member(),
        CREATION_TIME,
        CREATION_USER,
        UPDATE_TIME,
        UPDATE_USER,
        text("CustomerPurchaseOrderNo", 64).member(),
        instant("RequiredDeliveryDate").member(),
        instant("PaymentDueDate").member(),
        reference("Customer", CUSTOMERS.set).required().filterable().member(),
        reference("ShipToCustomer", CUSTOMERS.set).member(),
        reference("DocumentCurrency", CURRENCIES.set).fixed().member(),
        reference("SalesPerson", SALES_PERSONS.set).member(),
    ],
    collections: &["Lines", "PaymentPlans"],
    display: &["DocumentNo"],
    rules: &[
        AggregateRule::OpenBelow { state: "State", rank: RELEASED },
        AggregateRule::OneCurrency { reference: "DocumentCurrency" },
    ],
};

static SALES_ORDER_LINES: EntityType = EntityType {
    set: "Crm_Sales_SalesOrderLines",
    name: "Crm_Sales_SalesOrderLine",
    table: "Crm_Sales_Order_Lines",
    bases: &[],
    members: &[
        integer("LineNo").required().member(),
        quantity("Quantity").required().member(),
        amount("UnitPrice").required().member(),
        amount("LineAmount").required().member(),
        decimal("LineCustomDiscountPercent").or(0).member(),
        decimal("LineStandardDiscountPercent").or(0).member(),
        names("ProductDescription", 254).member(),
        instant("RequiredDeliveryDate").member(),
        text("Notes", 4000).member(),
        reference("SalesOrder", SALES_ORDERS.set).owner().member(),
        reference("Product", PRODUCTS.set).required().filterable().member(),
        reference("QuantityUnit", MEASUREMENT_UNITS.set).follows("Quantity").member(),
    ],
    collections: &[],
    display: &["SalesOrder", "DocumentNo"],
    rules: &[],
};

static COMPANIES: EntityType = EntityType {
    set: "General_Contacts_Companies",
    name: "General_Contacts_Company",
    table: "Gen_Companies",
    bases: PARTIES,
    members: &[
        text("PartyCode", 32).unique().member(),
        names("PartyName", 0).shows("Name").member(),
        text("GLN", 13).member(),
        flag("IsActive").or(1).member(),
        text("PartyNotes", 4000).member(),
        text("PartyUniqueNumber", 32).member(),
        names("Name", 254).required().member(),
        text("RegistrationNumber", 32).member(),
        text("RegistrationVATNumber", 32).member(),
        names("RegistrationPrimaryAddress", 254).member(),
        names("City", 64).member(),
        flag("IsVATRegistered").or(0).member(),
        integer("BranchNumber").member(),
    ],
    collections: &["ContactMechanisms", "BankAccounts", "Pictures"],
    display: &["Name"],
    rules: &[],
};

static PERSONS: EntityType = EntityType {
    set: "General_Contacts_Persons",
    name: "General_Contacts_Person",
    table: "Gen_Persons",
    bases: PARTIES,
    members: &[
        text("PartyCode", 32).unique().member(),
        flag("IsActive").or(1).member(),
        names("FirstName", 64).required().member(),
        names("MiddleName", 64).member(),
        names("LastName", 64).required().member(),
        instant("BirthDate").member(),
        names("City", 64).member(),
        text("Notes", 4000).member(),
    ],
    collections: &["ContactMechanisms", "BankAccounts", "Pictures"],
    display: &["LastName"],
    rules: &[],
};

static PRODUCTS: EntityType = EntityType {
    set: "General_Products_Products",
    name: "General_Products_Product",
    table: "Gen_Products",
    bases: &[],
    members: &[
        text("PartNumber", 32).unique().member(),
        names("Name", 254).required().member(),
        names("ShortName", 64).member(),
        names("Description", 2000).member(),
        text("CatalogDescriptionHtml", 8000).member(),
        flag("Active").or(1).member(),
        choice("ABCClass", &ABC_CLASS).or(1).member(),
        flag("IsFeatured").or(0).member(),
        flag("IsSerialized").or(0).member(),
        flag("ShowInCatalog").or(1).member(),
        amount("StandardPricePerLot").member(),
        amount("StandardCostPerLot").member(),
        amount("MinimalSalesPricePerLot").member(),
        quantity("StandardLotSizeBase").member(),
        decimal("MinimalSalesQuantityBase").member(),
        decimal("ScrapRate").or(0).member(),
        integer("GuaranteePeriodDays").member(),
        integer("ExpiryPeriodDays").member(),
        CREATION_TIME,
        CREATION_USER,
        UPDATE_TIME,
        UPDATE_USER,
        reference("ProductGroup", PRODUCT_GROUPS.set).required().filterable().member(),
        reference("MeasurementUnit", MEASUREMENT_UNITS.set).required().member(),
        reference("CostingCurrency", CURRENCIES.set).member(),
    ],
    collections: &["Prices", "Codes", "Pictures", "Variants"],
    display: &["Name"],
    rules: &[],
};

static PRODUCT_GROUPS: EntityType = EntityType {
    set: "General_Products_ProductGroups",
    name: "General_Products_ProductGroup",
    table: "Gen_Product_Groups",
    bases: &[],
    members: &[
        text("Code", 32).unique().member(),
        names("Name", 254).required().member(),
        flag("Active").or(1).member(),
        text("Notes", 4000).member(),
        reference("ParentGroup", "General_Products_ProductGroups").member(),
        reference("DefaultMeasurementUnit", MEASUREMENT_UNITS.set).member(),
    ],
    collections: &[],
    display: &["Name"],
    rules: &[],
};

pub(super) static MEASUREMENT_UNITS: EntityType = EntityType {
    set: "General_Products_MeasurementUnits",
    name: "General_Products_MeasurementUnit",
    table: "Gen_Measurement_Units",
    bases: &[],
    members: &[
        text("Code", 16).unique().member(),
        names("Name", 64).required().member(),
        decimal("Multiplier").or(1).member(),
        decimal("Divisor").or(1).member(),
        flag("IsDefaultUnit").or(0).member(),
    ],
    collections: &[],
    display: &["Name"],
    rules: &[],
};

pub(super) static CURRENCIES: EntityType = EntityType {
    set: "General_Currencies_Currencies",
    name: "General_Currencies_Currency",
    table: "Gen_Currencies",
    bases: &[],
    members: &[
        text("CurrencySign", 16).unique().member(),
        text("Name", 64).required().member(),
        integer("ShowOrder").or(0).member(),
    ],
    collections: &[],
    display: &["CurrencySign"],
    rules: &[],
};
