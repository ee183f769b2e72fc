//! From a front end to a backend: the one choice that is made for a new connection.

use skep_abi::{
    AffinityKey, AffinityValue, Backend, LOCAL_BOND, NO_BACKEND, Reason, Service, ServiceKey,
    backend_state, proto, service_flags,
};

use crate::{Net, Tables, Verdict, hash};

/// Whom affinity binds.
#[derive(Clone, Copy)]
pub(crate) enum Client<'a, F: Net> {
    /// The sender of a packet.
    Address(&'a F::Addr),
    /// A socket, which has no address yet: all of its network namespace.
    Namespace(u64),
}

impl<F: Net> Client<'_, F> {
    #[inline(always)]
    fn key(self, service: &Service) -> AffinityKey<F> {
        let is_kept = service.flags & service_flags::LOCAL != 0;
        let bond = if is_kept { LOCAL_BOND } else { 0 };
        let key = AffinityKey { service: service.id | bond, ..AffinityKey::default() };
        match self {
            Self::Address(client) => AffinityKey { client: *client, ..key },
            Self::Namespace(netns_cookie) => AffinityKey { netns_cookie, ..key },
        }
    }
}

/// What a front end says about a new connection.
pub(crate) enum Choice<F: Net, T: Tables<F>> {
    /// To this backend.
    Backend {
        /// Its id.
        id: u32,
        /// Itself.
        backend: T::Ref<Backend<F>>,
    },
    /// To none.
    None(Verdict),
}

/// The front end for an address and port, as `scope` sees it. A function of its own in the kernel, for
/// the sake of its callers' stack.
#[inline(never)]
pub(crate) fn lookup<F: Net, T: Tables<F>>(
    tables: &T,
    addr: &F::Addr,
    port_be: u16,
    proto: u8,
    scope: u8,
) -> Option<T::Ref<Service>> {
    tables.service(&ServiceKey { addr: *addr, port_be, proto, scope })
}

/// What to do with an address in the range of Services whose exact entry is missing.
#[inline(always)]
pub(crate) fn unknown<F: Net, T: Tables<F>>(tables: &T, addr: &F::Addr, scope: u8) -> Verdict {
    match lookup(tables, addr, 0, proto::ANY, scope) {
        Some(_) => Verdict::reject(Reason::NoServicePort),
        None => Verdict::drop(Reason::UnknownService),
    }
}

/// Whether a client with this address may open connections to the Service. To be asked before anything
/// else, so that strangers do not learn whether anybody serves.
#[inline(always)]
pub(crate) fn admits<F: Net, T: Tables<F>>(
    tables: &T,
    service: &Service,
    client: &F::Addr,
) -> bool {
    service.flags & service_flags::SOURCE_RANGES == 0 || is_in_range(tables, service.id, client)
}

/// A function of its own in the kernel: its key does not burden the stack of Services without ranges.
#[inline(never)]
fn is_in_range<F: Net, T: Tables<F>>(tables: &T, service: u32, client: &F::Addr) -> bool {
    tables.is_in_range(service, client)
}

/// Chooses the backend of a new connection. `hash` is of its tuple; `client` is whom affinity
/// binds.
#[inline(always)]
pub(crate) fn choose<F: Net, T: Tables<F>>(
    tables: &T,
    service: &Service,
    hash: u32,
    client: Client<'_, F>,
    ticks_per_s: u32,
) -> Choice<F, T> {
    if service.flags & service_flags::REJECT != 0 {
        return Choice::None(Verdict::reject(Reason::NoServicePort));
    }
    if service.slot_count == 0 {
        return if service.flags & service_flags::DROP != 0 {
            Choice::None(Verdict::drop(Reason::NoLocalBackend))
        } else {
            Choice::None(Verdict::reject(Reason::NoBackend))
        };
    }
    let sticky = service.flags & service_flags::AFFINITY != 0;
    let bound =
        if sticky { bound_backend(tables, service, client, ticks_per_s) } else { NO_BACKEND };
    let id = if bound == NO_BACKEND {
        tables.slot(service.slot_base.wrapping_add(hash::below(hash, service.slot_count)))
    } else {
        Some(bound)
    };
    let Some(id) = id else { return Choice::None(Verdict::drop(Reason::InvalidBackend)) };
    let Some(backend) = tables.backend(id) else {
        return Choice::None(Verdict::drop(Reason::InvalidBackend));
    };
    if !matches!(backend.state, backend_state::READY | backend_state::TERMINATING) {
        return Choice::None(Verdict::drop(Reason::InvalidBackend));
    }
    if sticky {
        bind(tables, service, client, id);
    }
    Choice::Backend { id, backend }
}

// Functions of their own in the kernel: their keys do not burden the stack of Services without affinity.

/// Binds the client to a backend from now on.
#[inline(never)]
fn bind<F: Net, T: Tables<F>>(tables: &T, service: &Service, client: Client<'_, F>, backend: u32) {
    let value = AffinityValue { seen_ticks: tables.now_ticks(), backend, pad: 0 };
    tables.bind(&client.key(service), &value);
}

/// The backend that the client is bound to, if the bond has not expired and the backend is ready.
#[inline(never)]
fn bound_backend<F: Net, T: Tables<F>>(
    tables: &T,
    service: &Service,
    client: Client<'_, F>,
    ticks_per_s: u32,
) -> u32 {
    let Some(bond) = tables.affinity(&client.key(service)) else { return NO_BACKEND };
    let age = tables.now_ticks().wrapping_sub(bond.seen_ticks);
    if age > u64::from(service.affinity_s) * u64::from(ticks_per_s) {
        return NO_BACKEND;
    }
    let is_usable =
        tables.backend(bond.backend).is_some_and(|backend| backend.state == backend_state::READY);
    if is_usable { bond.backend } else { NO_BACKEND }
}
