//! Handshake signatures, judged alike by every verifier: TLS 1.3 with what the provider has.

/// The part of rustls's two verifier traits that is about signatures and not about peers.
///
/// A macro, since rustls asks for it in each trait anew. TLS 1.2 is never offered, so a
/// signature of it is a fault of the peer.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let offered = rustls::PeerIncompatible::Tls12NotOffered;
            Err(rustls::Error::PeerIncompatible(offered))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            leaf: &CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, leaf, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

pub(crate) use tls13_signatures;
