//! `upload`: a file into a bucket of S3, verified there.

use std::path::Path;

use rhai::Dynamic;
use serde_json::json;

use super::paths::path_text;
use super::secret::secret;
use super::{Call, Effect, Group, Primitive};
use crate::error::{Error, Kind, Result};
use crate::files::{self, shown};
use crate::s3::{self, Access, Place};
use crate::script::from_json;
use crate::units;

pub(super) const UPLOAD: Primitive = Primitive {
    name: "upload",
    group: Group::Http,
    effect: Effect::Writes(plan),
    signatures: &["upload(file: string, to: string, options?: map) -> map"],
    manual: r#"
Uploads a file to a bucket of S3 or of a service that speaks its protocol, and verifies it there.

`to` is `s3://bucket/prefix/`; without the last `/` it is the object's whole name. An object of that name is replaced, at
once or not at all. The keys are the secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, with AWS_SESSION_TOKEN where it
is set, each also as a file that NAME_FILE names. Options: `endpoint` (else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else
AWS itself) and `region` (else AWS_REGION, AWS_DEFAULT_REGION, else us-east-1).

Up to 64 MiB go in one request, more in parts of at least 16 MiB, each with its SHA-256. Afterwards the size there must be
that of the file, and the service's SHA-256 as well; where it gives none for the whole object, every byte is read back.
Server errors, broken connections and silence are tried up to three times, refusals never; after a failure the parts are
given up. The result is a map: `url`, `size`, `sha256`, `etag`.

```rhai,no_run
let there = upload("backups/shop.sql.gz", "s3://example-backups/database/");
check_eq("the copy is the file", there.sha256, checksum("backups/shop.sql.gz"));
upload("backups/shop.sql.gz", "s3://backups/", #{ endpoint: "https://minio.example.com:9000", region: "eu-central-1" });
```
"#,
    work: |call| Ok(upload(call)?),
};

/// What a call asks for.
struct Asked {
    place: Place,
    endpoint: Option<String>,
    region: String,
}

fn upload(call: &Call) -> Result<Dynamic> {
    let path = call.path(0)?;
    let Asked { place, endpoint, region } = read(call)?;
    warn_of_plain_http(call, endpoint.as_deref());
    let access = access(endpoint, region)?;
    let (name, to) = (shown(&path), place.to_string());
    let done = call.on_thread_with(&format!("upload {name}"), move |progress, cancel| {
        s3::upload(&access, &path, &place, progress, cancel)
    })?;
    let result = json!({ "url": to, "size": done.size, "sha256": done.sha256, "etag": done.etag });
    let mut facts = result.clone();
    facts["file"] = name.clone().into();
    facts["verified"] = done.verified.into();
    call.evidence(
        format!("{name} is uploaded to {to}: {}, verified by {}", units::size(done.size), how(done.verified)),
        facts,
    );
    Ok(from_json(result))
}

fn how(verified: &str) -> &'static str {
    if verified == "checksum" { "the service's SHA-256" } else { "reading it back" }
}

fn read(call: &Call) -> Result<Asked> {
    let path = call.path(0)?;
    let file_name = path.file_name().map(Path::new).ok_or_else(|| call.wrong(0, "a file"))?;
    let place = Place::of(&call.text(1)?, &path_text(file_name)?)?;
    let mut options = call.options(2)?;
    let endpoint = options.text("endpoint")?.or_else(|| set("AWS_ENDPOINT_URL_S3")).or_else(|| set("AWS_ENDPOINT_URL"));
    let region = options.text("region")?.or_else(|| set("AWS_REGION")).or_else(|| set("AWS_DEFAULT_REGION"));
    options.finish()?;
    let region = region.unwrap_or_else(|| "us-east-1".to_owned());
    if !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Error::new(Kind::Usage, "the region is not one").hint("it looks like eu-central-1"));
    }
    Ok(Asked { place, endpoint, region })
}

fn access(endpoint: Option<String>, region: String) -> Result<Access> {
    let token = set("AWS_SESSION_TOKEN").or_else(|| set("AWS_SESSION_TOKEN_FILE"));
    let token = token.map(|_| secret("AWS_SESSION_TOKEN")).transpose()?;
    let (key, secret) = (secret("AWS_ACCESS_KEY_ID")?, secret("AWS_SECRET_ACCESS_KEY")?);
    Ok(Access { key, secret, token: token.filter(|token| !token.expose().is_empty()), region, endpoint })
}

/// Returns a variable that says something.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn warn_of_plain_http(call: &Call, endpoint: Option<&str>) {
    let Some(rest) = endpoint.and_then(|endpoint| endpoint.strip_prefix("http://")) else { return };
    if !["127.", "localhost", "[::1]"].iter().any(|own| rest.starts_with(own)) {
        call.warn("the upload is not encrypted on its way: the endpoint is plain http");
    }
}

fn plan(call: &Call) -> Result<String> {
    if let Some(path) = call.present_path(0)?.filter(|path| path.exists()) {
        files::open(&path)?;
    }
    if (0..3).any(|at| call.is_unknown(at)) {
        return Ok(format!("would upload {} to {}", call.shown(0), call.shown(1)));
    }
    let place = read(call)?.place;
    Ok(format!("would upload {} to {place}", call.shown(0)))
}
