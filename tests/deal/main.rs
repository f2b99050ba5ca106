//! The first deal, from the sale to the sweep, on the embedded node.

mod the_sheet_equals_what_terms_and_certificates_imply;
mod trouble_changes_no_balance;
