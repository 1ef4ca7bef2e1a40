//! The store in Redis 6.2 or newer, or Valkey.

mod connection;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, Script, ScriptInvocation};

#[cfg(test)]
pub(super) use self::connection::MAX_REPLY_BYTES;
use self::connection::RedisConnection;
use super::{
    Lease, MAX_LIST_BYTES, MAX_LISTS_BYTES, MAX_NODE_BYTES, MAX_NODES, MemberChange, Node, NodeView, Renewal, Store,
    StoreError, Times, list_json,
};
use crate::id::{NodeId, RoomId};
use crate::room::RoomSummary;

/// Leases and members of one call of a script, which blocks Redis while it runs.
const BATCH: usize = 500;

/// Reads a lease. One that is malformed, or that would never end, was not written by a node.
const HELD: &str = r"
local function held(key, life)
  local value = redis.pcall('GETRANGE', key, 0, 199)
  if type(value) ~= 'string' then
    redis.call('UNLINK', key)
    return ''
  end
  if value == '' then return '' end
  if not string.match(value, '^[%w._-]+ %d+$') then return '' end
  local left = redis.call('PTTL', key)
  if left < 0 or left > life then redis.call('PEXPIRE', key, life) end
  return value
end
";

/// KEYS: lease, generation, members. ARGV: node, life in ms. Returns the lease.
const ACQUIRE: &str = r"
local life = tonumber(ARGV[2])
local value = held(KEYS[1], life)
if value ~= '' then return value end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = redis.pcall('GETRANGE', KEYS[2], 0, 19)
last = type(last) == 'string' and string.match(last, '^%d+$') and tonumber(last) or 0
local generation = now
-- A Redis that has lost its memory goes on by its clock; a generation from the far future is not ours.
if last >= now and last < now + 86400000000 then generation = last + 1 end
local text = string.format('%.0f', generation)
redis.call('SET', KEYS[2], text)
value = ARGV[1] .. ' ' .. text
redis.call('SET', KEYS[1], value, 'PX', life)
redis.call('UNLINK', KEYS[3])
return value
";

/// KEYS: a lease and the members of its room, for each room. ARGV: life in ms, and a lease for each room.
const RENEW: &str = r"
local life = tonumber(ARGV[1])
local renewed = {}
for i = 1, #KEYS / 2 do
  local value = held(KEYS[2 * i - 1], life)
  if value == ARGV[i + 1] then
    redis.call('PEXPIRE', KEYS[2 * i - 1], life)
    redis.call('PEXPIRE', KEYS[2 * i], life)
    value = 'kept'
  end
  renewed[i] = value
end
return renewed
";

/// KEYS: lease, members. ARGV: lease, life in ms.
const RELEASE: &str = r"
if held(KEYS[1], tonumber(ARGV[2])) == ARGV[1] then redis.call('UNLINK', KEYS[1], KEYS[2]) end
return 1
";

/// KEYS: leases. ARGV: life in ms.
const OWNERS: &str = r"
local owners = {}
for i, key in ipairs(KEYS) do owners[i] = held(key, tonumber(ARGV[1])) end
return owners
";

/// KEYS: nodes, node, rooms. ARGV: node, life in ms, JSON of the node, JSON of the rooms.
const ANNOUNCE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[2])
return 1
";

/// KEYS: nodes. ARGV: the most nodes, the longest node and the longest list, the prefixes of both, the bytes of all
/// lists.
const NODES: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found, left = {}, tonumber(ARGV[6])
for i, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', 0, ARGV[1])) do
  local node = redis.pcall('GETRANGE', ARGV[4] .. id, 0, ARGV[2])
  local rooms = redis.pcall('GETRANGE', ARGV[5] .. id, 0, ARGV[3])
  if #id <= 64 and type(node) == 'string' and type(rooms) == 'string' then
    if #rooms > left then rooms = '[]' else left = left - #rooms end
    found[#found + 1] = id
    found[#found + 1] = node
    found[#found + 1] = rooms
  end
end
return found
";

/// KEYS: lease, members. ARGV: lease, life in ms, 1 if these are all members, the number of those that left, their ids,
/// and the id and JSON of each that joined.
const MEMBERS: &str = r"
local life = tonumber(ARGV[2])
if held(KEYS[1], life) ~= ARGV[1] then return 0 end
if ARGV[3] == '1' or redis.call('TYPE', KEYS[2]).ok ~= 'hash' then redis.call('UNLINK', KEYS[2]) end
local left = tonumber(ARGV[4])
for i = 5, 4 + left do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = 5 + left, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', KEYS[2], life)
return 1
";

/// The address of a Redis server: `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, with TLS `rediss://`. `Debug` and
/// `Display` hide user and password.
#[derive(Clone)]
pub struct RedisUrl(ConnectionInfo);

/// Why a text is not the address of a Redis server. The text is not in the error, as it may have a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write redis://HOST:6379, or rediss://HOST:6379 with TLS")]
pub struct RedisUrlError(String);

impl FromStr for RedisUrl {
    type Err = RedisUrlError;
    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        let info = text.into_connection_info().map_err(|_| RedisUrlError("this is no address of Redis".into()))?;
        match info.addr() {
            ConnectionAddr::Tcp(..) | ConnectionAddr::TcpTls { insecure: false, .. } => Ok(Self(info)),
            ConnectionAddr::TcpTls { .. } => {
                Err(RedisUrlError("TLS without a check of the certificate is not supported: remove #insecure".into()))
            }
            _ => Err(RedisUrlError("a socket is on one machine only".into())),
        }
    }
}

impl RedisUrl {
    /// The same server with this password.
    #[must_use]
    pub fn with_password(self, password: &str) -> Self {
        let settings = self.0.redis_settings().clone().set_password(password);
        Self(self.0.set_redis_settings(settings))
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "{host}:{port}"),
            ConnectionAddr::TcpTls { host, port, .. } => write!(f, "{host}:{port} (TLS)"),
            _ => f.write_str("an unknown address"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        let login = |url: &Self| {
            let settings = url.0.redis_settings();
            (settings.username().map(str::to_owned), settings.password().map(str::to_owned), settings.db())
        };
        self.to_string() == other.to_string() && login(self) == login(other)
    }
}

impl Eq for RedisUrl {}

/// A store in Redis. Clones share the connection, which is made again whenever it is lost.
#[derive(Clone)]
pub struct RedisStore {
    connection: Arc<RedisConnection>,
    server: String,
    life_ms: u64,
    scripts: Arc<Scripts>,
}

struct Scripts {
    acquire: Script,
    renew: Script,
    release: Script,
    owners: Script,
    announce: Script,
    nodes: Script,
    members: Script,
}

impl RedisStore {
    /// Connects to a server.
    ///
    /// # Errors
    /// If the server does not answer, wants another password, or can't run the scripts.
    pub async fn connect(url: &RedisUrl, times: Times) -> Result<Self, StoreError> {
        let with_held = |code: &str| Script::new(&format!("{HELD}{code}"));
        let scripts = Scripts {
            acquire: with_held(ACQUIRE),
            renew: with_held(RENEW),
            release: with_held(RELEASE),
            owners: with_held(OWNERS),
            announce: Script::new(ANNOUNCE),
            nodes: Script::new(NODES),
            members: with_held(MEMBERS),
        };
        let life_ms = times.lease.as_millis().try_into().unwrap_or(u64::MAX);
        let (connection, server) = (Arc::new(RedisConnection::new(url)), url.to_string());
        let store = Self { connection, server, life_ms, scripts: scripts.into() };
        store.owners(&[]).await?;
        Ok(store)
    }

    async fn run<T: redis::FromRedisValue + Send>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        let run = |mut connection| async move { script.invoke_async(&mut connection).await };
        self.connection.exchange(run).await
    }

    fn malformed(&self, what: &str) -> StoreError {
        StoreError::Refused { server: self.server.clone(), cause: format!("{what} is malformed") }
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.server)
    }
}

/// An error as a sentence. Redis puts no secret into its errors.
fn unreachable(server: &str, error: &RedisError) -> StoreError {
    let (server, cause) = (server.to_owned(), error.to_string());
    if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        StoreError::Unreachable { server, cause }
    } else {
        StoreError::Refused { server, cause }
    }
}

fn lease_key(room: &RoomId) -> String {
    format!("classroom:lease:{room}")
}

fn members_key(room: &RoomId) -> String {
    format!("meeting-room::{room}")
}

const NODE_PREFIX: &str = "classroom:node:";
const ROOMS_PREFIX: &str = "classroom:rooms:";
const NODES_KEY: &str = "classroom:nodes";

#[async_trait]
impl Store for RedisStore {
    async fn acquire(&self, room: &RoomId, node: &NodeId) -> Result<Lease, StoreError> {
        let mut script = self.scripts.acquire.prepare_invoke();
        script.key(lease_key(room)).key("classroom:generation").key(members_key(room));
        script.arg(node.as_str()).arg(self.life_ms);
        let lease: String = self.run(&script).await?;
        Lease::parse(&lease).ok_or_else(|| self.malformed("the lease"))
    }

    async fn renew(&self, leases: &[(RoomId, Lease)]) -> Result<Vec<Renewal>, StoreError> {
        let mut all = Vec::with_capacity(leases.len());
        for batch in leases.chunks(BATCH) {
            let mut script = self.scripts.renew.prepare_invoke();
            script.arg(self.life_ms);
            for (room, lease) in batch {
                script.key(lease_key(room)).key(members_key(room)).arg(lease.to_string());
            }
            let renewed: Vec<String> = self.run(&script).await?;
            if renewed.len() != batch.len() {
                return Err(self.malformed("the list of leases"));
            }
            all.extend(renewed.into_iter().map(|held| match held.as_str() {
                "kept" => Renewal::Kept,
                held => Lease::parse(held).map_or(Renewal::Free, Renewal::Taken),
            }));
        }
        Ok(all)
    }

    async fn release(&self, room: &RoomId, lease: &Lease) -> Result<(), StoreError> {
        let mut script = self.scripts.release.prepare_invoke();
        script.key(lease_key(room)).key(members_key(room)).arg(lease.to_string()).arg(self.life_ms);
        self.run::<i64>(&script).await.map(drop)
    }

    async fn owners(&self, rooms: &[RoomId]) -> Result<Vec<Option<Lease>>, StoreError> {
        let mut all = Vec::with_capacity(rooms.len());
        // Without rooms, this still asks Redis whether it runs scripts.
        let batches = rooms.chunks(BATCH).chain(rooms.is_empty().then_some(rooms));
        for batch in batches {
            let mut script = self.scripts.owners.prepare_invoke();
            script.arg(self.life_ms);
            batch.iter().for_each(|room| _ = script.key(lease_key(room)));
            let owners: Vec<String> = self.run(&script).await?;
            if owners.len() != batch.len() {
                return Err(self.malformed("the list of owners"));
            }
            all.extend(owners.iter().map(|owner| Lease::parse(owner)));
        }
        Ok(all)
    }

    async fn announce(&self, node: &Node, rooms: &[RoomSummary]) -> Result<(), StoreError> {
        // A node always has a JSON form.
        let json = serde_json::to_string(node).unwrap_or_default();
        let mut script = self.scripts.announce.prepare_invoke();
        script.key(NODES_KEY).key(format!("{NODE_PREFIX}{}", node.id)).key(format!("{ROOMS_PREFIX}{}", node.id));
        script.arg(node.id.as_str()).arg(self.life_ms).arg(json).arg(list_json(rooms));
        self.run::<i64>(&script).await.map(drop)
    }

    async fn withdraw(&self, node: &NodeId) -> Result<(), StoreError> {
        let keys = [format!("{NODE_PREFIX}{node}"), format!("{ROOMS_PREFIX}{node}")];
        let mut commands = redis::pipe();
        commands.zrem(NODES_KEY, node.as_str()).ignore().del(&keys).ignore();
        let run = |mut connection| async move { commands.query_async::<()>(&mut connection).await };
        self.connection.exchange(run).await
    }

    async fn node(&self, id: &NodeId) -> Result<Option<Node>, StoreError> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(format!("{NODE_PREFIX}{id}")).arg(0).arg(MAX_NODE_BYTES - 1);
        let run = |mut connection| async move { command.query_async(&mut connection).await };
        let json: Vec<u8> = self.connection.exchange(run).await?;
        Ok(Node::parse(id, &json))
    }

    async fn nodes(&self) -> Result<Vec<NodeView>, StoreError> {
        let mut script = self.scripts.nodes.prepare_invoke();
        script.key(NODES_KEY).arg(MAX_NODES).arg(MAX_NODE_BYTES - 1).arg(MAX_LIST_BYTES - 1);
        script.arg(NODE_PREFIX).arg(ROOMS_PREFIX).arg(MAX_LISTS_BYTES);
        let found: Vec<Vec<u8>> = self.run(&script).await?;
        Ok(found.chunks_exact(3).filter_map(view).collect())
    }

    async fn write_members(&self, room: &RoomId, lease: &Lease, change: &MemberChange) -> Result<bool, StoreError> {
        let mut is_whole = change.is_whole;
        let (mut left, mut joined) = (change.left.chunks(BATCH), change.joined.chunks(BATCH));
        loop {
            let (next_left, next_joined) = (left.next(), joined.next());
            if next_left.is_none() && next_joined.is_none() && !is_whole {
                return Ok(true);
            }
            let (next_left, next_joined) = (next_left.unwrap_or_default(), next_joined.unwrap_or_default());
            let mut script = self.scripts.members.prepare_invoke();
            script.key(lease_key(room)).key(members_key(room)).arg(lease.to_string()).arg(self.life_ms);
            script.arg(u8::from(is_whole)).arg(next_left.len());
            next_left.iter().for_each(|user| _ = script.arg(user.as_str()));
            for user in next_joined {
                // Names always have a JSON form.
                script.arg(user.user_id.as_str()).arg(serde_json::to_string(user).unwrap_or_default());
            }
            if self.run::<i64>(&script).await? != 1 {
                return Ok(false);
            }
            is_whole = false;
        }
    }
}

/// A node and its rooms, if they make sense.
fn view(found: &[Vec<u8>]) -> Option<NodeView> {
    let [id, node, rooms] = found else { return None };
    let node = Node::parse(&str::from_utf8(id).ok()?.parse().ok()?, node)?;
    Some(NodeView { node, rooms: serde_json::from_slice(rooms).unwrap_or_default() })
}
