// The media host of the simulation: it answers each offer with a connection of its own and tells the rooms whose media
// it has, as the host of `serve` does (src/commands/serve/meeting.rs).

export class Host {
  /** The connections, by the user and the source of the media: the user itself where it publishes. */
  links = new Map();
  /** Where each participant is: `{ breakout, entry }`. */
  #places = new Map();
  #conn;
  #server;

  constructor(conn, server) {
    this.#conn = conn;
    this.#server = server;
  }

  /** A message of the rooms, which comes in order; `null` ends the host. */
  arrives(conn, message) {
    setTimeout(() => (message ? this.#hear(message) : this.#close(() => true)), 1);
  }

  #hear(message) {
    const { type, userId, source, candidate } = message;
    if (type === 'participants') this.#list(message);
    if (type === 'offer') this.#offer(message).catch(() => {});
    // A candidate may be of an earlier connection.
    if (type === 'candidate') this.links.get(`${userId} ${source}`)?.addIceCandidate(candidate).catch(() => {});
    if (type === 'leave') this.#close((user, of) => user !== of && message.users.includes(user));
  }

  #list({ participants, breakout = 0, media }) {
    const now = new Map(media === 'server' ? participants.map(({ userId, entry }) => [userId, entry]) : []);
    for (const [user, place] of this.#places) if (place.breakout === breakout && !now.has(user)) this.#exit(user);
    for (const [user, entry] of now) this.#enter(user, { breakout, entry });
  }

  #enter(user, place) {
    const known = this.#places.get(user);
    const isSame = known?.breakout === place.breakout && known?.entry === place.entry;
    if (known && (isSame || known.entry > place.entry)) return;
    if (known) this.#exit(user);
    this.#places.set(user, place);
  }

  #exit(user) {
    this.#places.delete(user);
    this.#close((one, source) => one === user || source === user);
  }

  async #offer({ userId, source, entry, sdp }) {
    if (userId === source) this.#enter(userId, { breakout: this.#places.get(userId)?.breakout ?? 0, entry });
    else if (!this.#places.has(source)) {
      return this.#say({ type: 'reject', targetUid: userId, source, code: 'notOnStage', message: 'not here' });
    }
    this.#close((one, of) => one === userId && of === source);
    const pc = new RTCPeerConnection();
    const key = `${userId} ${source}`;
    this.links.set(key, pc);
    pc.onconnectionstatechange = () => this.#changed(pc, userId, source);
    await pc.setRemoteDescription({ type: 'offer', sdp });
    await pc.setLocalDescription();
    if (this.links.get(key) !== pc) return;
    // The address of an SFU is known before its answer.
    this.#say({ type: 'answer', targetUid: userId, source, sdp: `${pc.localDescription.sdp}a=candidate:1\r\n` });
  }

  #changed(pc, user, source) {
    const { connectionState } = pc;
    if (connectionState === 'connecting') return;
    const isConnected = connectionState === 'connected';
    if (user === source) this.#tell(user, isConnected);
    if (!isConnected) this.#close((one, of) => one === user && of === source);
  }

  #tell(targetUid, on) {
    const { entry } = this.#places.get(targetUid);
    this.#say({ type: 'published', targetUid, entry, on });
  }

  /** Closes the connections of these users and sources. */
  #close(isMeant) {
    for (const [key, pc] of this.links) {
      if (!isMeant(...key.split(' '))) continue;
      this.links.delete(key);
      pc.close();
    }
  }

  #say(message) {
    this.#server.tell({ do: 'message', conn: this.#conn, text: JSON.stringify(message) });
  }
}
