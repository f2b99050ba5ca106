//! A source of views: an Electrum server, or a Bitcoin Core of our own.

use bitcoin::{OutPoint, ScriptBuf};

#[cfg(feature = "core")]
use super::core::Core;
use super::electrum::Electrum;
use crate::error::Result;
use crate::facts::View;

/// Somebody who tells what is unspent.
// A few of them live as long as the desk: a box would buy nothing.
#[cfg_attr(feature = "core", expect(clippy::large_enum_variant))]
#[derive(Debug)]
pub enum Source {
    /// A server: its word, checked as far as a word can be.
    Server(Electrum),
    /// A node of our own: it validates.
    #[cfg(feature = "core")]
    Node(Core),
}

impl Source {
    /// What the source says of `outpoints` now. A server is asked for the histories of `scripts`,
    /// which must be those that the outpoints' transactions touch, with headers from height
    /// `headers_from`; a node looks them up in its own set.
    pub fn view(
        &self,
        scripts: &[ScriptBuf],
        headers_from: u32,
        outpoints: &[OutPoint],
    ) -> Result<View> {
        match self {
            Self::Server(server) => server.view(scripts, headers_from, outpoints),
            #[cfg(feature = "core")]
            Self::Node(node) => node.view(outpoints),
        }
    }
}

impl Electrum {
    /// What the server says of `outpoints`, out of the histories of `scripts`: see
    /// [`Electrum::facts`] for what is checked of them.
    pub fn view(
        &self,
        scripts: &[ScriptBuf],
        headers_from: u32,
        outpoints: &[OutPoint],
    ) -> Result<View> {
        let facts = self.facts(scripts, headers_from)?;
        View::of_server(self.place(), &facts, outpoints)
    }
}
