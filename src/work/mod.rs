//! Work: from a block template to a share, from shares to a certificate, from certificates to a
//! verdict. Pure: the same bytes give the same answer to everybody.

pub mod template;
