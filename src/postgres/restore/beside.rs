//! A restored database that waits beside its target until it takes the target's name.

use std::sync::Arc;

use super::database::{self, Scratch};
use super::swap::{self, Swap};
use super::{Filled, RestoreOptions, Restored};
use crate::cleanup::Ledger;
use crate::error::Result;
use crate::postgres::{Access, Address, Session};

/// A restored database under a name of its own. It goes at the end of the run unless it took the target's name.
pub struct Beside {
    scratch: Scratch,
    options: RestoreOptions,
    filled: Filled,
    run: String,
}

impl Beside {
    pub(super) fn new(scratch: Scratch, options: &RestoreOptions, filled: Filled, ledger: &Arc<Ledger>) -> Self {
        Self { scratch, options: options.clone(), filled, run: ledger.run().to_owned() }
    }

    /// Returns where it is for now.
    pub fn address(&self) -> Address {
        self.scratch.address()
    }

    /// Returns the name that it is to take.
    pub fn target(&self) -> &str {
        &self.options.database
    }

    /// Returns how many rows were loaded.
    pub fn rows(&self) -> u64 {
        self.filled.rows
    }

    /// Returns what a selection of tables left out.
    pub fn left_out(&self) -> &[String] {
        &self.filled.left_out
    }

    /// Removes it.
    pub async fn remove(self) -> Result<()> {
        self.scratch.remove().await
    }

    /// Looks whose name it takes; nobody's where there is no database of that name.
    ///
    /// # Errors
    /// `Refused` when there is one and it may not be replaced.
    pub async fn look(&self) -> Result<Option<Swap>> {
        let server = self.scratch.server();
        let session = Session::open(server, Access::ReadOnly).await?;
        let (name, own) = (&self.options.database, self.scratch.own_name());
        let Some(old) = swap::number(&session, name).await? else { return Ok(None) };
        if !self.options.replace {
            return Err(database::taken(server, name));
        }
        let new = swap::number(&session, own).await?.ok_or_else(|| swap::gone(server, own))?;
        Ok(Some(Swap::new(server, name, &self.run, old, new)))
    }

    /// Gives it the name. What had the name before is called `<name>__before_<run>` from then on, and is dropped unless
    /// it is to be kept. `held` is let go when the names are changed, or when it is sure that they will not be.
    pub async fn take_place<H: Send + Sync + 'static>(
        self,
        swap: Option<Swap>,
        end_sessions: bool,
        held: H,
    ) -> Result<Restored> {
        let (server, name) = (self.scratch.server().clone(), self.options.database.clone());
        let own = self.scratch.own_name().to_owned();
        let named = match &swap {
            Some(swap) => swap.make(&own, end_sessions, held).await,
            None => swap::rename_alone(&server, &own, &name, held).await,
        };
        if let Err(error) = named {
            let _ = self.scratch.remove().await; // a removal that failed is reported by the final drain
            return Err(error);
        }
        self.scratch.keep()?;
        let mut replaced = swap.as_ref().map(|swap| swap.before().to_owned());
        if let Some(before) = replaced.take_if(|_| !self.options.keeps_replaced()) {
            let session = Session::open(&server, Access::Writable).await?;
            database::drop_unused(&session, &before).await?;
        }
        let Filled { rows, left_out } = self.filled;
        Ok(Restored { address: server.with_database(&name), rows, replaced, left_out })
    }
}
