"""Fills a fresh Tryton with what a shop needs: a company, accounts, two products, a web shop.

Prints the key of the REST interface.
"""

import sys
from decimal import Decimal

from proteus import Model, config

connection = config.set_trytond("sqlite:///erp", config_file=sys.argv[1])

from trytond.modules.account.tests.tools import create_chart, create_fiscalyear, get_accounts  # noqa: E402
from trytond.modules.account_invoice.tests.tools import (  # noqa: E402
    create_payment_term,
    set_fiscalyear_invoice_sequences,
)
from trytond.modules.company.tests.tools import create_company  # noqa: E402

PRODUCTS = {"SKU-1": "10.00", "SKU-2": "25.50"}


def accounting():
    create_company(currency="EUR")
    create_chart()
    set_fiscalyear_invoice_sequences(create_fiscalyear()).click("create_period")
    accounts = get_accounts()
    category = Model.get("product.category")(name="Goods", accounting=True)
    category.account_expense = accounts["expense"]
    category.account_revenue = accounts["revenue"]
    category.save()
    payment_method(accounts)
    return category


def products(category):
    (unit,) = Model.get("product.uom").find([("name", "=", "Unit")])
    for code, price in PRODUCTS.items():
        template = Model.get("product.template")(name=code, type="goods", salable=True)
        template.default_uom = unit
        template.list_price = Decimal(price)
        template.account_category = category
        template.products[0].suffix_code = code
        template.save()


def shop():
    create_payment_term().save()
    (warehouse,) = Model.get("stock.location").find([("type", "=", "warehouse")])
    web_shop = Model.get("web.shop")(name="shop")
    web_shop.warehouses.append(warehouse)
    web_shop.save()


def payment_method(accounts):
    (journal,) = Model.get("account.journal").find([("type", "=", "cash")])
    method = Model.get("account.invoice.payment.method")(name="Card", journal=journal)
    method.credit_account = method.debit_account = accounts["cash"]
    method.save()


def key():
    application = Model.get("res.user.application")(application="rest")
    application.user = Model.get("res.user")(connection.user)
    application.save()
    return application.key


products(accounting())
shop()
print(key())
