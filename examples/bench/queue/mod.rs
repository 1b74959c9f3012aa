//! The queue beside what the server can do at best. Rates are the server's own: from the first claim to the last
//! completion, by the rows' columns.

mod bed;
mod deadline;
mod flat;
mod idle;
mod latency;
mod throughput;

use crate::Result;
use bed::Bed;

type Part = fn(&Bed) -> Result;

/// `flat` makes millions of rows, and so takes minutes: it runs where it is named.
const PARTS: [(&str, Part); 5] = [
    ("throughput", throughput::show),
    ("latency", latency::show),
    ("idle", idle::show),
    ("deadline", deadline::show),
    ("flat", flat::show),
];

/// Runs the parts that are named, or all but `flat`.
pub fn show(wanted: &[String]) -> Result {
    if let Some(unknown) = wanted.iter().find(|part| PARTS.iter().all(|(name, _)| name != part)) {
        return Err(format!("there is no part `{unknown}`").into());
    }
    let bed = Bed::new()?;
    println!("server: {}", bed.version()?);
    for (name, part) in PARTS {
        if wanted.iter().any(|wanted| wanted == name) || wanted.is_empty() && name != "flat" {
            part(&bed)?;
        }
    }
    Ok(())
}
