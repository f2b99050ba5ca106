//! The first deal, from the sale to the sweep, in the world that HASHMIX_WORLD names.

mod the_sheet_equals_what_terms_and_certificates_imply;
