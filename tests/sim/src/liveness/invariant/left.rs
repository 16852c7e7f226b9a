//! Who has applied a cluster's removal shows none of its endpoints, whatever that cluster still says.

use super::super::plane::Plane;

pub(crate) fn check(plane: &Plane) -> Result<(), String> {
    let moves = plane.gateways.iter().filter(|g| g.still_since.is_none());
    for observer in moves {
        for endpoint in observer.endpoints() {
            let own = endpoint.cluster.as_str() == observer.cluster;
            if !own && !plane.knows(observer, endpoint.cluster.as_str()) {
                return Err(format!(
                    "{} shows {} of {}, which is no member",
                    observer.name, endpoint.id, endpoint.cluster
                ));
            }
        }
    }
    Ok(())
}
