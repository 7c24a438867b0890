//! The manual page, from the same source as `--help`.

use std::io::{self, Write};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::compat;

/// Writes vk-host(8) as roff.
pub(super) fn write(command: clap::Command, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(command).section("8").manual("System Administration");
    man.render(out)?;
    let mut page = Roff::default();
    page.control("SH", ["EXIT STATUS"]);
    page.text([roman(
        "0 after a clean stop, 64 for wrong usage, 128 + signal after a second signal, 1 for everything else; but for 0, one line says why.",
    )]);
    compat::manual(&mut page);
    page.to_writer(out)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Cli;

    #[test]
    fn it_has_all_flags_and_the_table_of_compatibility() {
        let mut page = Vec::new();
        super::write(Cli::command(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap().replace("\\-", "-");
        assert!(page.contains(".TH vk-host 8"), "{page}");
        for text in
            ["--provider-config", "--take-over", "SH COMPATIBILITY", "--pod-sync-workers VALUE", "SH \"EXIT STATUS\""]
        {
            assert!(page.contains(text), "{text} is not in the manual");
        }
        assert_eq!(page.matches("--klog.v VALUE").count(), 1);
    }
}
