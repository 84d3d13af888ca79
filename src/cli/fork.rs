//! `runner fork`: a stock script to edit.

use std::io::Write;
use std::path::PathBuf;

use super::answer;
use super::args::Fork;
use crate::engine::{stock_names, stock_text};
use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::Digest;
use crate::script::did_you_mean;

pub(super) fn fork(args: &Fork) -> Result<u8> {
    let text = stock_text(&args.name).ok_or_else(|| {
        let error = Error::new(Kind::Missing, format!("there is no stock script {}", args.name));
        error.hint(did_you_mean(&args.name, stock_names()).unwrap_or_else(|| "`runner list` names them".into()))
    })?;
    let to = args.to.clone().unwrap_or_else(|| PathBuf::from(format!("{}.rhai", args.name)));
    // The note lets a later version tell whether the stock script moved on.
    let origin = format!(
        "// forked from {} of runner {}, sha256 {}\n",
        args.name,
        env!("CARGO_PKG_VERSION"),
        Digest::of(text.as_bytes())
    );
    let mut file = AtomicFile::create(&to)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.write_all(origin.as_bytes()))
        .map_err(|e| Error::io("write", &to, &e))?;
    file.commit()?;
    answer(&format!("wrote {0}\nrun it with: runner {0} --watch\n", to.display()))
}
