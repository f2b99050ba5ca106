//! A share under construction: an honest one, any part of which can be changed before it is ground.

use bitcoin::block::Header;
use bitcoin::hashes::Hash;
use bitcoin::{Target, Transaction, TxMerkleNode, Txid};
use hashmix::error::Result;
use hashmix::headers::Headers;
use hashmix::work::agreement::WorkTerms;
use hashmix::work::certificate::Certificate;
use hashmix::work::hash;
use hashmix::work::share::{Share, weigh, without_witness};
use hashmix::work::template::fold_branch;

use crate::examine::Bench;
use crate::world::{POSITION, TIP, chain, job, terms};

/// The height of the honest share; it lies in slice 2.
pub(crate) const HEIGHT: u32 = 20;
pub(crate) const SLICE: u32 = 2;

/// A share, and what it is judged by.
pub(crate) struct Made {
    pub(crate) tx: Transaction,
    /// Bytes that are shown in the place of the coinbase.
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) branch: Vec<TxMerkleNode>,
    pub(crate) header: Header,
    /// How the header's root comes about.
    pub(crate) root: fn(Txid, &[TxMerkleNode]) -> TxMerkleNode,
    /// The hash is at most this one,
    pub(crate) at_most: Target,
    /// and above this one.
    pub(crate) above: Target,
    pub(crate) terms: WorkTerms,
    pub(crate) headers: Headers,
    /// The slice that it is shown for.
    pub(crate) slice: u32,
}

/// An honest share.
pub(crate) fn made() -> Made {
    let headers = chain(TIP);
    let job = job(&headers, HEIGHT);
    Made {
        tx: job.coinbase,
        bytes: None,
        branch: job.branch,
        header: job.header,
        root: fold_branch,
        at_most: terms().target,
        above: Target::ZERO,
        terms: terms(),
        headers,
        slice: SLICE,
    }
}

impl Made {
    /// The coinbase as it is shown.
    pub(crate) fn coinbase(&self) -> Vec<u8> {
        self.bytes.clone().unwrap_or_else(|| without_witness(&self.tx))
    }

    /// The coinbase's bytes, changed.
    pub(crate) fn rewrite(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.coinbase();
        change(&mut bytes);
        self.bytes = Some(bytes);
    }

    fn share(&self) -> Share {
        let coinbase = self.coinbase();
        let mut header = self.header;
        header.merkle_root =
            (self.root)(Txid::from_byte_array(hash::double(&coinbase)), &self.branch);
        let fits = |header: &Header| {
            let hash = header.block_hash();
            self.at_most.is_met_by(hash) && !self.above.is_met_by(hash)
        };
        while !fits(&header) {
            header.nonce += 1;
        }
        Share { header, coinbase, branch: self.branch.clone() }
    }
}

impl Bench for Made {
    /// Alone, in a certificate, and after travelling as a file of either form: always the same.
    fn verdict(&self) -> Result<()> {
        let share = self.share();
        let alone = weigh(&share, &self.terms, &self.headers);
        let certificate =
            Certificate { position: POSITION, slice: self.slice, shares: vec![share] };
        let listed = certificate.check(&self.terms, &self.headers).map(|_| ());
        if let Err(error) = &alone {
            assert_eq!(listed.as_ref().unwrap_err().rule(), error.rule());
        }
        for file in [certificate.to_json().into_bytes(), certificate.to_bytes()] {
            let read = Certificate::read(&file).unwrap();
            assert_eq!(read, certificate);
            assert_eq!(read.check(&self.terms, &self.headers).map(|_| ()), listed);
        }
        listed
    }
}
