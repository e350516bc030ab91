-- The Domain API's demo model: a table for each entity set, columns named as the members they keep.
--
-- Decimals are millionths in a BIGINT. An amount or a quantity is two columns, "…_value" and "…_code". A text in
-- several languages is a JSON object by language and, in "…_text", the texts alone, which is what a search looks at.
-- "ObjectVersion" and "AggregateLastUpdateTimeUtc" are the aggregate's and stand at its root; what a root owns goes
-- with it.
-- Which values are unique and which references hold is decided before a write; these constraints settle the races.

CREATE TABLE "Gen_Currencies" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "CurrencySign"               TEXT   NOT NULL,
    "Name"                       TEXT   NOT NULL,
    "ShowOrder"                  BIGINT NOT NULL,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "CurrencySign")
);
CREATE INDEX "Gen_Currencies_changed" ON "Gen_Currencies" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Gen_Measurement_Units" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "Code"                       TEXT   NOT NULL,
    "Name"                       TEXT   NOT NULL,
    "Name_text"                  TEXT   NOT NULL,
    "Multiplier"                 BIGINT NOT NULL,
    "Divisor"                    BIGINT NOT NULL,
    "IsDefaultUnit"              BIGINT NOT NULL,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "Code")
);
CREATE INDEX "Gen_Measurement_Units_changed" ON "Gen_Measurement_Units" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Gen_Product_Groups" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "Code"                       TEXT   NOT NULL,
    "Name"                       TEXT   NOT NULL,
    "Name_text"                  TEXT   NOT NULL,
    "Active"                     BIGINT NOT NULL,
    "Notes"                      TEXT,
    "ParentGroup"                TEXT,
    "DefaultMeasurementUnit"     TEXT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "Code"),
    FOREIGN KEY (instance, "ParentGroup") REFERENCES "Gen_Product_Groups" (instance, "Id"),
    FOREIGN KEY (instance, "DefaultMeasurementUnit") REFERENCES "Gen_Measurement_Units" (instance, "Id")
);
CREATE INDEX "Gen_Product_Groups_ParentGroup" ON "Gen_Product_Groups" (instance, "ParentGroup");
CREATE INDEX "Gen_Product_Groups_DefaultMeasurementUnit" ON "Gen_Product_Groups" (instance, "DefaultMeasurementUnit");
CREATE INDEX "Gen_Product_Groups_changed" ON "Gen_Product_Groups" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Gen_Persons" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "PartyCode"                  TEXT   NOT NULL,
    "IsActive"                   BIGINT NOT NULL,
    "FirstName"                  TEXT   NOT NULL,
    "FirstName_text"             TEXT   NOT NULL,
    "MiddleName"                 TEXT,
    "MiddleName_text"            TEXT,
    "LastName"                   TEXT   NOT NULL,
    "LastName_text"              TEXT   NOT NULL,
    "BirthDate"                  BIGINT,
    "City"                       TEXT,
    "City_text"                  TEXT,
    "Notes"                      TEXT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "PartyCode")
);
CREATE INDEX "Gen_Persons_changed" ON "Gen_Persons" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Crm_Sales_Persons" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "IsActive"                   BIGINT NOT NULL,
    "Person"                     TEXT   NOT NULL,
    PRIMARY KEY (instance, "Id"),
    FOREIGN KEY (instance, "Person") REFERENCES "Gen_Persons" (instance, "Id")
);
CREATE INDEX "Crm_Sales_Persons_Person" ON "Crm_Sales_Persons" (instance, "Person");
CREATE INDEX "Crm_Sales_Persons_changed" ON "Crm_Sales_Persons" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Gen_Companies" (
    instance                          TEXT   NOT NULL REFERENCES instances (id),
    "Id"                              TEXT   NOT NULL,
    "ObjectVersion"                   BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc"      BIGINT NOT NULL,
    "PartyCode"                       TEXT   NOT NULL,
    "GLN"                             TEXT,
    "IsActive"                        BIGINT NOT NULL,
    "PartyNotes"                      TEXT,
    "PartyUniqueNumber"               TEXT,
    "Name"                            TEXT   NOT NULL,
    "Name_text"                       TEXT   NOT NULL,
    "RegistrationNumber"              TEXT,
    "RegistrationVATNumber"           TEXT,
    "RegistrationPrimaryAddress"      TEXT,
    "RegistrationPrimaryAddress_text" TEXT,
    "City"                            TEXT,
    "City_text"                       TEXT,
    "IsVATRegistered"                 BIGINT NOT NULL,
    "BranchNumber"                    BIGINT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "PartyCode")
);
CREATE INDEX "Gen_Companies_changed" ON "Gen_Companies" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Crm_Customers" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "Active"                     BIGINT NOT NULL,
    "Number"                     TEXT   NOT NULL,
    "AllowUseAsPrimaryCustomer"  BIGINT NOT NULL,
    "AllowUseAsShipToCustomer"   BIGINT NOT NULL,
    "CreditLimit_value"          BIGINT,
    "CreditLimit_code"           TEXT,
    "DefaultDeliveryTermDays"    BIGINT,
    "DefaultPaymentStartDays"    BIGINT,
    "DefaultPaymentTermDays"     BIGINT,
    "GracePeriodDays"            BIGINT NOT NULL,
    "PersistSalesOrdersLots"     BIGINT NOT NULL,
    "FromDate"                   BIGINT,
    "ThruDate"                   BIGINT,
    "CreationTime"               BIGINT NOT NULL,
    "CreationUser"               TEXT   NOT NULL,
    "UpdateTime"                 BIGINT NOT NULL,
    "UpdateUser"                 TEXT   NOT NULL,
    "Party"                      TEXT   NOT NULL,
    "SalesPerson"                TEXT,
    "DefaultCurrency"            TEXT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "Number"),
    FOREIGN KEY (instance, "Party") REFERENCES "Gen_Companies" (instance, "Id"),
    FOREIGN KEY (instance, "SalesPerson") REFERENCES "Crm_Sales_Persons" (instance, "Id"),
    FOREIGN KEY (instance, "DefaultCurrency") REFERENCES "Gen_Currencies" (instance, "Id")
);
CREATE INDEX "Crm_Customers_Party" ON "Crm_Customers" (instance, "Party");
CREATE INDEX "Crm_Customers_SalesPerson" ON "Crm_Customers" (instance, "SalesPerson");
CREATE INDEX "Crm_Customers_DefaultCurrency" ON "Crm_Customers" (instance, "DefaultCurrency");
CREATE INDEX "Crm_Customers_changed" ON "Crm_Customers" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Gen_Products" (
    instance                        TEXT   NOT NULL REFERENCES instances (id),
    "Id"                            TEXT   NOT NULL,
    "ObjectVersion"                 BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc"    BIGINT NOT NULL,
    "PartNumber"                    TEXT   NOT NULL,
    "Name"                          TEXT   NOT NULL,
    "Name_text"                     TEXT   NOT NULL,
    "ShortName"                     TEXT,
    "ShortName_text"                TEXT,
    "Description"                   TEXT,
    "Description_text"              TEXT,
    "CatalogDescriptionHtml"        TEXT,
    "Active"                        BIGINT NOT NULL,
    "ABCClass"                      BIGINT NOT NULL,
    "IsFeatured"                    BIGINT NOT NULL,
    "IsSerialized"                  BIGINT NOT NULL,
    "ShowInCatalog"                 BIGINT NOT NULL,
    "StandardPricePerLot_value"     BIGINT,
    "StandardPricePerLot_code"      TEXT,
    "StandardCostPerLot_value"      BIGINT,
    "StandardCostPerLot_code"       TEXT,
    "MinimalSalesPricePerLot_value" BIGINT,
    "MinimalSalesPricePerLot_code"  TEXT,
    "StandardLotSizeBase_value"     BIGINT,
    "StandardLotSizeBase_code"      TEXT,
    "MinimalSalesQuantityBase"      BIGINT,
    "ScrapRate"                     BIGINT NOT NULL,
    "GuaranteePeriodDays"           BIGINT,
    "ExpiryPeriodDays"              BIGINT,
    "CreationTime"                  BIGINT NOT NULL,
    "CreationUser"                  TEXT   NOT NULL,
    "UpdateTime"                    BIGINT NOT NULL,
    "UpdateUser"                    TEXT   NOT NULL,
    "ProductGroup"                  TEXT   NOT NULL,
    "MeasurementUnit"               TEXT   NOT NULL,
    "CostingCurrency"               TEXT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "PartNumber"),
    FOREIGN KEY (instance, "ProductGroup") REFERENCES "Gen_Product_Groups" (instance, "Id"),
    FOREIGN KEY (instance, "MeasurementUnit") REFERENCES "Gen_Measurement_Units" (instance, "Id"),
    FOREIGN KEY (instance, "CostingCurrency") REFERENCES "Gen_Currencies" (instance, "Id")
);
CREATE INDEX "Gen_Products_ProductGroup" ON "Gen_Products" (instance, "ProductGroup");
CREATE INDEX "Gen_Products_MeasurementUnit" ON "Gen_Products" (instance, "MeasurementUnit");
CREATE INDEX "Gen_Products_CostingCurrency" ON "Gen_Products" (instance, "CostingCurrency");
CREATE INDEX "Gen_Products_changed" ON "Gen_Products" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Crm_Sales_Orders" (
    instance                     TEXT   NOT NULL REFERENCES instances (id),
    "Id"                         TEXT   NOT NULL,
    "ObjectVersion"              BIGINT NOT NULL,
    "AggregateLastUpdateTimeUtc" BIGINT NOT NULL,
    "DocumentNo"                 TEXT   NOT NULL,
    "DocumentDate"               BIGINT NOT NULL,
    "DocumentNotes"              TEXT,
    "State"                      BIGINT NOT NULL,
    "Void"                       BIGINT NOT NULL,
    "CreationTime"               BIGINT NOT NULL,
    "CreationUser"               TEXT   NOT NULL,
    "UpdateTime"                 BIGINT NOT NULL,
    "UpdateUser"                 TEXT   NOT NULL,
    "CustomerPurchaseOrderNo"    TEXT,
    "RequiredDeliveryDate"       BIGINT,
    "PaymentDueDate"             BIGINT,
    "Customer"                   TEXT   NOT NULL,
    "ShipToCustomer"             TEXT,
    "DocumentCurrency"           TEXT   NOT NULL,
    "SalesPerson"                TEXT,
    PRIMARY KEY (instance, "Id"),
    UNIQUE (instance, "DocumentNo"),
    FOREIGN KEY (instance, "Customer") REFERENCES "Crm_Customers" (instance, "Id"),
    FOREIGN KEY (instance, "ShipToCustomer") REFERENCES "Crm_Customers" (instance, "Id"),
    FOREIGN KEY (instance, "DocumentCurrency") REFERENCES "Gen_Currencies" (instance, "Id"),
    FOREIGN KEY (instance, "SalesPerson") REFERENCES "Crm_Sales_Persons" (instance, "Id")
);
CREATE INDEX "Crm_Sales_Orders_Customer" ON "Crm_Sales_Orders" (instance, "Customer");
CREATE INDEX "Crm_Sales_Orders_ShipToCustomer" ON "Crm_Sales_Orders" (instance, "ShipToCustomer");
CREATE INDEX "Crm_Sales_Orders_DocumentCurrency" ON "Crm_Sales_Orders" (instance, "DocumentCurrency");
CREATE INDEX "Crm_Sales_Orders_SalesPerson" ON "Crm_Sales_Orders" (instance, "SalesPerson");
CREATE INDEX "Crm_Sales_Orders_changed" ON "Crm_Sales_Orders" (instance, "AggregateLastUpdateTimeUtc");

CREATE TABLE "Crm_Sales_Order_Lines" (
    instance                      TEXT   NOT NULL REFERENCES instances (id),
    "Id"                          TEXT   NOT NULL,
    "LineNo"                      BIGINT NOT NULL,
    "Quantity_value"              BIGINT NOT NULL,
    "Quantity_code"               TEXT   NOT NULL,
    "UnitPrice_value"             BIGINT NOT NULL,
    "UnitPrice_code"              TEXT   NOT NULL,
    "LineAmount_value"            BIGINT NOT NULL,
    "LineAmount_code"             TEXT   NOT NULL,
    "LineCustomDiscountPercent"   BIGINT NOT NULL,
    "LineStandardDiscountPercent" BIGINT NOT NULL,
    "ProductDescription"          TEXT,
    "ProductDescription_text"     TEXT,
    "RequiredDeliveryDate"        BIGINT,
    "Notes"                       TEXT,
    "SalesOrder"                  TEXT   NOT NULL,
    "Product"                     TEXT   NOT NULL,
    "QuantityUnit"                TEXT,
    PRIMARY KEY (instance, "Id"),
    FOREIGN KEY (instance, "SalesOrder") REFERENCES "Crm_Sales_Orders" (instance, "Id") ON DELETE CASCADE,
    FOREIGN KEY (instance, "Product") REFERENCES "Gen_Products" (instance, "Id"),
    FOREIGN KEY (instance, "QuantityUnit") REFERENCES "Gen_Measurement_Units" (instance, "Id")
);
CREATE INDEX "Crm_Sales_Order_Lines_SalesOrder" ON "Crm_Sales_Order_Lines" (instance, "SalesOrder");
CREATE INDEX "Crm_Sales_Order_Lines_Product" ON "Crm_Sales_Order_Lines" (instance, "Product");
CREATE INDEX "Crm_Sales_Order_Lines_QuantityUnit" ON "Crm_Sales_Order_Lines" (instance, "QuantityUnit");
