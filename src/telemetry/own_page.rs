//! The metrics of what keyward runs on: its configuration, certificates, store and process.

use super::gauges::{CertificateGauges, Gauges, LastReload, ProcessGauges};
use super::histogram::{Histogram, seconds};
use super::page::{Page, escaped};
use super::store_durations::StoreDurations;

impl Page {
    pub(super) fn reloads(&mut self, gauges: &Gauges) {
        let name = "keyward_config_reloads_total";
        self.family(("counter", name, "Reloads of the configuration, by outcome."));
        self.labelled(name, "outcome", "done", gauges.reloads_done);
        self.labelled(name, "outcome", "refused", gauges.reloads_refused);
        self.last_reload("keyward_config", gauges.config);
        let name = "keyward_certificate_reloads_total";
        self.family(("counter", name, "Changes of the files of certificates, by outcome."));
        self.labelled(name, "outcome", "done", gauges.certificate_reloads_done);
        self.labelled(name, "outcome", "failed", gauges.certificate_reloads_failed);
        self.last_reload("keyward_certificate", gauges.certificate_files);
    }

    fn last_reload(&mut self, prefix: &str, last: LastReload) {
        self.gauge(
            &format!("{prefix}_last_reload_successful"),
            "Whether what was loaded last is in force; 0: what was there before is.",
            u8::from(last.is_successful),
        );
        let name = format!("{prefix}_last_reload_success_timestamp_seconds");
        let help = "When something was put in force last, at a reload or the start.";
        self.family(("gauge", &name, help));
        if let Some(at) = last.succeeded_at {
            self.line(&name, "", at.unix_seconds());
        }
    }

    pub(super) fn certificates(&mut self, certificates: &[CertificateGauges]) {
        let labels = |of: &CertificateGauges| format!("file=\"{}\"", escaped(&of.file));
        let name = "keyward_certificate_not_before_timestamp_seconds";
        self.family(("gauge", name, "From when on a certificate in force is valid."));
        for certificate in certificates {
            self.line(name, &labels(certificate), certificate.not_before.unix_seconds());
        }
        let name = "keyward_certificate_not_after_timestamp_seconds";
        self.family(("gauge", name, "Until when a certificate in force is valid."));
        for certificate in certificates {
            self.line(name, &labels(certificate), certificate.not_after.unix_seconds());
        }
    }

    pub(super) fn store(&mut self, durations: &StoreDurations) {
        let name = "keyward_store_request_duration_seconds";
        self.family(("histogram", name, "How long the store took, by what it was asked for."));
        for (request, histogram) in durations.iter() {
            let labels = format!("operation=\"{request}\"");
            Histogram::render(&mut self.0, name, &labels, std::iter::once(histogram));
        }
    }

    /// The names are those of Prometheus' own client libraries.
    pub(super) fn process(&mut self, process: &ProcessGauges) {
        let name = "process_cpu_seconds_total";
        self.family(("counter", name, "The time that processors have spent on the process."));
        self.line(name, "", seconds(process.cpu));
        let started = process.started_at.map(|at| {
            let millis = at.unix_millis();
            format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
        });
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        for (name, help, value) in [
            ("process_open_fds", "Open file descriptors.", number(process.open_files)),
            ("process_max_fds", "How many may be open.", number(process.most_files)),
            ("process_start_time_seconds", "When the process was started.", started),
            ("process_resident_memory_bytes", "Its resident memory.", number(process.resident)),
            ("process_virtual_memory_bytes", "Its virtual memory.", number(process.mapped)),
        ] {
            self.family(("gauge", name, help));
            if let Some(value) = value {
                self.line(name, "", value);
            }
        }
    }
}
