//! The files of an image: a layer for each architecture, and the documents that lead to them.
//!
//! One archive holds both layouts that there are, OCI's and docker's, over the same blobs: `docker load`, `podman load`,
//! `skopeo` and `ctr images import` all take it. OCI's has one entry, an index, of which an engine takes what fits it;
//! docker's knows no architectures and has that of the machine that wrote it. Nothing else in it depends on when, where or
//! by whom it is made.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::tar::Archive;
use crate::arch::Arch;

/// What the image is and where it comes from.
#[derive(Clone, Copy)]
pub struct About<'a> {
    /// Of the image, and of its only file.
    pub name: &'a str,
    pub description: &'a str,
    /// What it does unless it is told otherwise: the arguments of the binary.
    pub command: &'a str,
    pub version: &'a str,
    pub licence: &'a str,
    pub source: &'a str,
}

/// When everything is said to be made: an image that told the time would be another one each time.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// A file that is named by its digest.
struct Blob {
    media: &'static str,
    bytes: Vec<u8>,
    digest: String,
}

/// An image, and what it is known by.
pub struct Image {
    pub archive: Vec<u8>,
    /// What a registry knows it by: the digest of the index of its manifests.
    pub digest: String,
}

/// The only file of an image, and where it runs.
pub type Binary = (&'static Arch, Vec<u8>);

/// What is there for one architecture.
struct Variant {
    arch: &'static Arch,
    manifest: Blob,
    config: Blob,
    layer: Blob,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image whose only file is the binary, in the root.
pub fn image(binaries: &[Binary], about: &About<'_>) -> Result<Image> {
    let variants = binaries.iter().map(|(arch, binary)| variant(arch, binary, about));
    let variants: Vec<Variant> = variants.collect::<Result<_>>()?;
    let manifests = variants.iter().map(|Variant { arch, manifest, .. }| {
        let platform = format!(r#","platform":{{"architecture":"{}","os":"linux"}}"#, arch.debian);
        descriptor(manifest, &platform)
    });
    let list = index(&manifests.collect::<Vec<_>>().join(","));
    let list = blob(INDEX, list.into_bytes())?;

    // Without a registry's name: docker and podman each call it as they call what is of this host.
    let name = format!("{}:{}", about.name, about.version);
    let named = format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#);
    let ours = variants.iter().find(|variant| variant.arch.is_host()).or(variants.first());
    let Variant { config, layer, .. } = ours.context("an image needs a binary")?;
    let docker =
        format!(r#"[{{"Config":"{}","RepoTags":["{name}"],"Layers":["{}"]}}]"#, path(config), path(layer));
    let mut archive = Archive::default();
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.file("index.json", 0o644, index(&descriptor(&list, &named)).as_bytes());
    archive.file("manifest.json", 0o644, docker.as_bytes());
    let blobs = variants.iter().flat_map(|Variant { manifest, config, layer, .. }| [manifest, config, layer]);
    for blob in std::iter::once(&list).chain(blobs) {
        archive.file(&path(blob), 0o644, &blob.bytes);
    }
    Ok(Image { archive: archive.finish(), digest: list.digest })
}

fn variant(arch: &'static Arch, binary: &[u8], about: &About<'_>) -> Result<Variant> {
    let mut layer = Archive::default();
    layer.file(about.name, 0o755, binary);
    // Not compressed: whoever pushes it does so, and by which compressor and level is up to them.
    let layer = blob("application/vnd.oci.image.layer.v1.tar", layer.finish())?;
    let config = config(about, arch, &layer.digest).into_bytes();
    let config = blob("application/vnd.oci.image.config.v1+json", config)?;
    let media = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media}","config":{},"layers":[{}]}}"#,
        descriptor(&config, ""),
        descriptor(&layer, "")
    );
    let manifest = blob(media, manifest.into_bytes())?;
    Ok(Variant { arch, manifest, config, layer })
}

fn index(manifests: &str) -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{manifests}]}}"#)
}

fn config(about: &About<'_>, arch: &Arch, layer: &str) -> String {
    let About { name, description, command, version, licence, source } = about;
    let architecture = arch.debian;
    let command = command.split_whitespace().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(",");
    let labels = [
        ("title", name),
        ("description", description),
        ("version", version),
        ("licenses", licence),
        ("source", source),
    ];
    let labels =
        labels.map(|(name, value)| format!(r#""org.opencontainers.image.{name}":"{value}""#)).join(",");
    format!(
        r#"{{"created":"{EPOCH}","architecture":"{architecture}","os":"linux","config":{{"User":"0","Entrypoint":["/{name}"],"Cmd":[{command}],"WorkingDir":"/","Labels":{{{labels}}}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}},"history":[{{"created":"{EPOCH}","created_by":"cargo xtask image"}}]}}"#
    )
}

fn blob(media: &'static str, bytes: Vec<u8>) -> Result<Blob> {
    Ok(Blob { media, digest: sha256(&bytes)?, bytes })
}

fn descriptor(blob: &Blob, more: &str) -> String {
    let Blob { media, bytes, digest } = blob;
    format!(r#"{{"mediaType":"{media}","digest":"sha256:{digest}","size":{}{more}}}"#, bytes.len())
}

fn path(blob: &Blob) -> String {
    format!("blobs/sha256/{}", blob.digest)
}

/// By the program that every Linux has: 64 hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> Result<String> {
    let program = "sha256sum";
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{program}`: it is part of coreutils"))?;
    // It says nothing before it has read all, so neither waits for the other.
    let written = child.stdin.take().map(|mut input| input.write_all(bytes));
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{program}`"))?;
    written.transpose().with_context(|| format!("cannot write to `{program}`"))?;
    let digest: String = String::from_utf8_lossy(&output.stdout).chars().take(64).collect();
    ensure!(output.status.success() && digest.len() == 64, "`{program}` failed: {}", output.status);
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;
    use crate::{arch, process};

    const ABOUT: About<'_> = About {
        name: "tcpwatch",
        description: "test",
        command: "run",
        version: "1.2.3",
        licence: "MIT",
        source: "https://example.com/x",
    };

    #[test]
    fn digests() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b"").expect("sha256sum"), empty);
    }

    #[test]
    fn the_same_is_the_same() {
        let make = |binary: &[u8], about| {
            image(&arch::ALL.map(|arch| (arch, binary.to_vec())), about).expect("an image")
        };
        let first = make(b"binary", &ABOUT);
        let second = make(b"binary", &ABOUT);
        assert!(first.archive == second.archive && first.digest == second.digest);
        assert_ne!(first.digest, make(b"other", &ABOUT).digest);
        assert_ne!(first.digest, make(b"binary", &About { version: "1.2.4", ..ABOUT }).digest);
    }

    #[test]
    fn documents_lead_to_blobs() {
        let image = image(&[(arch::X86_64, b"binary".to_vec())], &ABOUT).expect("an image");
        let text = String::from_utf8_lossy(&image.archive);
        assert_eq!(text.matches(&format!("blobs/sha256/{}", image.digest)).count(), 1, "the file");
        assert_eq!(text.matches(&format!("\"sha256:{}\"", image.digest)).count(), 1, "in the index");
        for word in [r#""Entrypoint":["/tcpwatch"],"Cmd":["run"]"#, r#"image.version":"1.2.3""#] {
            assert!(text.contains(word), "{word}");
        }
    }

    /// Unpacks the archive with `tar` and follows the digests, as an engine does.
    #[test]
    fn each_architecture_finds_its_binary() {
        let binaries = [(arch::X86_64, b"for amd64".to_vec()), (arch::AARCH64, b"for arm64".to_vec())];
        let image = image(&binaries, &ABOUT).expect("an image");
        let folder = std::env::temp_dir().join(format!("tcpwatch-layout-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("make a folder");
        fs::write(folder.join("image.tar"), &image.archive).expect("write");
        process::run(Command::new("tar").current_dir(&folder).args(["-xf", "image.tar"]))
            .expect("tar reads it");
        let json = |path: &str| -> Value {
            serde_json::from_slice(&process::read(&folder.join(path)).expect("a file")).expect("JSON")
        };
        let blob = |digest: &Value| {
            let digest = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
            let path = format!("blobs/sha256/{digest}");
            assert_eq!(
                sha256(&process::read(&folder.join(&path)).expect("a blob")).expect("sha256sum"),
                digest
            );
            path
        };
        let top = json("index.json");
        assert_eq!(
            top["manifests"].as_array().map(Vec::len),
            Some(1),
            "engines take an archive of one image only"
        );
        let list = json(&blob(&top["manifests"][0]["digest"]));
        let docker = json("manifest.json");
        for (at, (arch, binary)) in binaries.iter().enumerate() {
            let entry = &list["manifests"][at];
            assert_eq!(entry["platform"], serde_json::json!({"architecture": arch.debian, "os": "linux"}));
            let manifest = json(&blob(&entry["digest"]));
            let (config, layer) =
                (blob(&manifest["config"]["digest"]), blob(&manifest["layers"][0]["digest"]));
            assert_eq!(json(&config)["architecture"], arch.debian);
            let layer_bytes = process::read(&folder.join(&layer)).expect("a layer");
            assert!(layer_bytes.windows(binary.len()).any(|part| part == binary), "{arch}");
            assert_eq!(docker[0]["Config"] == *config && docker[0]["Layers"][0] == *layer, arch.is_host());
        }
        fs::remove_dir_all(&folder).expect("remove the folder");
    }
}
