//! `runner keygen`: a pair of keys that sign backups.

use super::answer;
use super::args::Keygen;
use crate::error::Result;
use crate::run::exit;
use crate::signing;

pub(super) fn keygen(args: &Keygen) -> Result<u8> {
    let key = signing::generate(&args.name)?;
    let name = args.name.display();
    answer(&format!(
        "key {key}\n{name}.key signs: runner backup_database --sign {name}.key (keep a copy where no backup is)\n\
         {name}.pub is trusted: runner drill --trust {name}.pub\n"
    ))?;
    Ok(exit::PASSED)
}
