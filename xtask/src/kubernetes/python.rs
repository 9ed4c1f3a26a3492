//! A virtual environment with the Python packages that the checks use, and Helm as a library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::project::Project;
use crate::{packages, process};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// The package that is unpacked and not installed: it asks for a newer Python than Debian has, and the library does not.
const HELM: &str = "helm-sdkpy";

pub struct Python {
    scripts: PathBuf,
    root: PathBuf,
}

impl Python {
    /// Makes the environment below `target/`, unless it is there with just these packages.
    pub fn prepare(project: &Project) -> Result<Self> {
        let root = project.target.join("kubernetes/python");
        let python = Self { scripts: project.root.join("xtask/src/kubernetes"), root };
        let stamp = python.root.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|text| text == REQUIREMENTS) && python.helm().is_file() {
            return Ok(python);
        }
        packages::install(packages::PYTHON)?;
        println!("kubernetes: getting Helm and the schemas of Kubernetes from PyPI");
        if python.root.exists() {
            fs::remove_dir_all(&python.root).context("remove the old Python environment")?;
        }
        process::output(Command::new("python3").args(["-m", "venv"]).arg(&python.root))
            .context("cannot make a Python environment")?;
        python.install()?;
        ensure!(
            python.helm().is_file(),
            "{HELM} has no {}: there is one for Linux on x86_64 only",
            python.helm().display()
        );
        fs::write(&stamp, REQUIREMENTS).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(python)
    }

    fn install(&self) -> Result<()> {
        let (helm, others): (Vec<&str>, Vec<&str>) = REQUIREMENTS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .partition(|line| line.starts_with(HELM));
        let pip = |arguments: &[&str]| {
            let mut pip = self.command();
            pip.args(["-m", "pip", "--disable-pip-version-check", "-q"]).args(arguments);
            pip
        };
        process::retry("pip install", || process::output(pip(&["install"]).args(&others)))?;
        let wheel = self.root.join("wheel");
        let download = ["download", "--no-deps", "--only-binary=:all:", "--python-version=3.13", "-d"];
        process::retry("pip download", || process::output(pip(&download).arg(&wheel).args(&helm)))?;
        let files = fs::read_dir(&wheel).context("list what pip downloaded")?;
        for file in files {
            let file = file.context("list what pip downloaded")?.path();
            process::output(
                self.command().args(["-m", "zipfile", "-e"]).arg(file).arg(self.root.join("helm")),
            )
            .context("cannot unpack Helm")?;
        }
        fs::remove_dir_all(&wheel).context("remove what pip downloaded")
    }

    fn command(&self) -> Command {
        Command::new(self.root.join("bin/python"))
    }

    fn helm(&self) -> PathBuf {
        self.root.join("helm/helm_sdkpy/_lib/linux-amd64/libhelm_sdkpy.so")
    }

    /// One of the scripts beside this file.
    pub fn script(&self, name: &str) -> Command {
        let mut command = self.command();
        // Not to leave its cache among the sources.
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(self.scripts.join(name));
        command
    }

    /// Helm, to be told what to do.
    pub fn helm_command(&self, verb: &str, chart: Option<&Path>) -> Command {
        let mut command = self.script("helm.py");
        command.arg(self.helm()).arg(verb).args(chart);
        command
    }
}
