//! Signatures: Ed25519 keys, and who signed the list that speaks for a backup.
//!
//! A checksum shows an accident; a hand that can write the backup can write its checksum, too. A signature needs a key
//! that this hand has not. Keys are PEM files and a signature is the 64 bytes of RFC 8032, so that
//! `openssl pkeyutl -verify -pubin -inkey KEY.pub -rawin -in LIST -sigfile LIST.sig` says the same as we do.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::files::atomic::AtomicFile;
use crate::files::digest::Hasher;

/// What stands before the 32 bytes of a private key: PKCS #8 for Ed25519 (RFC 8410).
const PRIVATE: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// What stands before the 32 bytes of a public key: SubjectPublicKeyInfo for Ed25519 (RFC 8410).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// A key file has about 120 bytes.
const LARGEST: u64 = 4096;

/// Returns where the signature of a list lies.
pub fn signature_path(list: &Path) -> PathBuf {
    with_ending(list, ".sig")
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Makes a pair of keys: `stem.key`, which only its owner may read, and `stem.pub`. Returns the name of the pair.
///
/// # Errors
/// `Refused` when one of the files exists: a lost key is worse than a second one.
pub fn generate(stem: &Path) -> Result<String> {
    let (private_file, public_file) = (with_ending(stem, ".key"), with_ending(stem, ".pub"));
    if let Some(taken) = [&private_file, &public_file].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Error::new(Kind::Refused, format!("{} exists already", taken.display()))
            .on(taken.display().to_string())
            .hint("choose another name: what a lost key signed can never be signed again"));
    }
    let mut seed = Zeroizing::new([0u8; 32]);
    SystemRandom::new()
        .fill(&mut *seed)
        .map_err(|_| Error::new(Kind::Io, "the system gives no random numbers, so no key can be made"))?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
        .map_err(|e| Error::new(Kind::Bug, "no key").caused_by(e.to_string()))?;
    let public: [u8; 32] = pair.public_key().as_ref().try_into().map_err(|_| Error::new(Kind::Bug, "no key"))?;
    let private = Zeroizing::new([&PRIVATE[..], &*seed].concat());
    write(&private_file, pem("PRIVATE KEY", &private).as_bytes())?;
    write(&public_file, pem("PUBLIC KEY", &[&PUBLIC[..], &public].concat()).as_bytes())?;
    Ok(name_of(&public))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(|e| Error::io("write", path, &e))?;
    file.commit()
}

/// Names a key by the first eight bytes of its SHA-256: short enough to be read out.
fn name_of(public: &[u8; 32]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(public);
    hasher.finish().to_string()[..16].to_owned()
}

fn pem(words: &str, bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(format!("-----BEGIN {words}-----\n{}\n-----END {words}-----\n", STANDARD.encode(bytes)))
}

/// Reads the 32 bytes of a key out of a PEM file.
fn read(path: &Path, words: &str, before: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
    let wrong = |why: String| {
        Error::new(Kind::Usage, format!("{} is no Ed25519 {}", path.display(), words.to_lowercase()))
            .on(path.display().to_string())
            .caused_by(why)
            .hint("runner keygen NAME makes a pair: NAME.key signs, NAME.pub is trusted")
    };
    let size = path.metadata().map_err(|e| Error::io("read", path, &e))?.len();
    if size > LARGEST {
        return Err(wrong(format!("it has {size} bytes")));
    }
    let text = Zeroizing::new(std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))?);
    let (begin, end) = (format!("-----BEGIN {words}-----"), format!("-----END {words}-----"));
    let body = text.trim().strip_prefix(&begin).and_then(|rest| rest.strip_suffix(&end));
    let body: Zeroizing<String> = Zeroizing::new(
        body.ok_or_else(|| wrong(format!("it does not begin with {begin}")))?
            .chars()
            .filter(|c| !c.is_ascii_whitespace())
            .collect(),
    );
    let bytes = Zeroizing::new(STANDARD.decode(&*body).map_err(|_| wrong("it is not Base64".into()))?);
    let key = bytes.strip_prefix(before).and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(Zeroizing::new).ok_or_else(|| wrong("it is a key of another kind".into()))
}

/// A key that signs.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// Reads a private key.
    ///
    /// # Errors
    /// When it is no Ed25519 key, or when others than its owner may read it.
    pub fn read(path: &Path) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let mode = path.metadata().map_err(|e| Error::io("read", path, &e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(Kind::Refused, format!("others may read the key {}", path.display()))
                .on(path.display().to_string())
                .hint(format!("chmod 600 {}, and make a new pair if it was there for long", path.display())));
        }
        let seed = read(path, "PRIVATE KEY", &PRIVATE)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed)
            .map_err(|e| Error::new(Kind::Usage, format!("{} is no key", path.display())).caused_by(e.to_string()))?;
        Ok(Self(pair))
    }

    /// Signs a list's bytes and writes the signature beside it. A list that is signed already is refused.
    pub fn sign(&self, list: &Path, bytes: &[u8]) -> Result<()> {
        write(&signature_path(list), self.0.sign(bytes).as_ref())
    }
}

/// The keys whose signatures count. Without any, signatures are not looked at.
#[derive(Clone, Default)]
pub struct Trust {
    keys: Vec<[u8; 32]>,
}

impl Trust {
    /// Reads public keys.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let keys = paths.iter().map(|path| read(path, "PUBLIC KEY", &PUBLIC).map(|key| *key));
        Ok(Self { keys: keys.collect::<Result<_>>()? })
    }

    /// Returns whether no key was named, so that signatures are not asked for.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the name of the key that signed a list with these bytes.
    ///
    /// # Errors
    /// `Damaged` when there is no signature, or when it is not one of these keys' for these bytes.
    pub fn signer_of(&self, list: &Path, bytes: &[u8]) -> Result<String> {
        let refuse = |why: &str| {
            Error::new(Kind::Damaged, format!("{} is not signed by a key that is trusted", list.display()))
                .on(list.display().to_string())
                .caused_by(why)
                .hint("somebody may have changed it; use a backup whose signature holds, or leave --trust out")
        };
        let path = signature_path(list);
        match path.symlink_metadata() {
            Ok(facts) if facts.len() == 64 && facts.is_file() => {}
            Ok(_) => return Err(refuse("what lies beside it is no signature of 64 bytes")),
            Err(_) => return Err(refuse("it has no signature")),
        }
        let signature = std::fs::read(&path).map_err(|e| Error::io("read", &path, &e))?;
        let by = |key: &&[u8; 32]| UnparsedPublicKey::new(&ED25519, key).verify(bytes, &signature).is_ok();
        let signer = self.keys.iter().find(by);
        signer.map(name_of).ok_or_else(|| refuse("its signature is of another key, or of another text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let name = generate(&folder.path().join("backups")).unwrap();
        (folder, name)
    }

    #[test]
    fn a_signature_holds_for_its_text_and_its_key_alone() {
        let (folder, name) = keys();
        let (list, other) = (folder.path().join("list"), folder.path().join("other"));
        Signer::read(&folder.path().join("backups.key")).unwrap().sign(&list, b"one").unwrap();
        let trust = Trust::read(&[folder.path().join("backups.pub")]).unwrap();
        assert_eq!(trust.signer_of(&list, b"one").unwrap(), name);
        assert_eq!(trust.signer_of(&list, b"onf").unwrap_err().kind(), Kind::Damaged);
        assert!(trust.signer_of(&other, b"one").unwrap_err().to_string().contains("no signature"));

        generate(&other).unwrap();
        let stranger = Trust::read(&[folder.path().join("other.pub")]).unwrap();
        assert!(stranger.signer_of(&list, b"one").unwrap_err().to_string().contains("another key"));
        let both = Trust::read(&["other.pub", "backups.pub"].map(|name| folder.path().join(name))).unwrap();
        assert_eq!(both.signer_of(&list, b"one").unwrap(), name);

        let signature = signature_path(&list);
        for bit in [0, 200, 511] {
            let mut bytes = std::fs::read(&signature).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&signature, &bytes).unwrap();
            assert!(trust.signer_of(&list, b"one").is_err(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&signature, &bytes).unwrap();
        }
        std::fs::write(&signature, [0; 63]).unwrap();
        assert!(trust.signer_of(&list, b"one").is_err());
    }

    #[test]
    fn keys_are_kept_and_kept_secret() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _) = keys();
        let (private, public) = (folder.path().join("backups.key"), folder.path().join("backups.pub"));
        assert_eq!(private.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let before = std::fs::read(&private).unwrap();
        assert_eq!(generate(&folder.path().join("backups")).unwrap_err().kind(), Kind::Refused);
        assert_eq!(std::fs::read(&private).unwrap(), before);
        assert!(Signer::read(&public).is_err() && Trust::read(std::slice::from_ref(&private)).is_err());
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Signer::read(&private).err().unwrap().kind(), Kind::Refused);
    }

    #[test]
    fn openssl_says_the_same() {
        let (folder, _) = keys();
        let list = folder.path().join("list");
        std::fs::write(&list, "one").unwrap();
        Signer::read(&folder.path().join("backups.key")).unwrap().sign(&list, b"one").unwrap();
        let verify = |text: &str| {
            std::fs::write(&list, text).unwrap();
            let arguments = "pkeyutl -verify -pubin -inkey backups.pub -rawin -in list -sigfile list.sig";
            let mut openssl = std::process::Command::new("openssl");
            openssl.args(arguments.split(' ')).current_dir(folder.path()).output()
        };
        let Ok(good) = verify("one") else { return eprintln!("not run: there is no openssl") };
        assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
        assert!(!verify("two").unwrap().status.success());
        let made = "genpkey -algorithm ed25519 -out theirs.key";
        let made = std::process::Command::new("openssl").args(made.split(' ')).current_dir(folder.path()).output();
        assert!(made.unwrap().status.success());
        Signer::read(&folder.path().join("theirs.key")).unwrap();
    }
}
