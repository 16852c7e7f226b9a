//! History on every disk has no gap, and says the same as every other's.

use std::collections::BTreeMap;

use weft_model::NodeId;
use weft_registry::disk::SimulatedDisk;

/// Compares what is durable on the disks at the end of a run.
pub(crate) fn check<'a>(
    disks: impl Iterator<Item = (NodeId, &'a SimulatedDisk)>,
) -> Result<(), String> {
    let mut rows: BTreeMap<u64, (NodeId, Vec<u8>)> = BTreeMap::new();
    for (node, disk) in disks {
        let (begins, kept) = disk.history();
        let mut last = begins;
        for (index, row) in kept {
            let Some(before) = last else {
                return Err(format!("node {node} has rows and no beginning"));
            };
            if index != before + 1 {
                return Err(format!("node {node} has row {index} after {before}"));
            }
            last = Some(index);
            let (first, known) = rows.entry(index).or_insert_with(|| (node, row.to_vec()));
            if known[..] != row[..] {
                return Err(format!("nodes {first} and {node} differ in row {index}"));
            }
        }
    }
    Ok(())
}
