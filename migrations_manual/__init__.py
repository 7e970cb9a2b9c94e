"""Changes of a database that holds data, as SQL; `trisagion.adapters.db.migrations` reads them."""
