/**
 * The executable as a process of its own, and a merchant on this machine for it.
 */
import { afterAll } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"

const executable = resolve(import.meta.dirname, "../../src/cli/main.ts")

/** Of a public test mnemonic: nobody keeps anything there. */
export const key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"

const token = "0x5fbdb2315678afecb367f032d93f642f64180aa3"

/** A wallet that may pay on a chain of this machine, and nothing else of the environment of whoever runs the tests. */
export const wallet = {
  MPP_PRIVATE_KEY: key,
  MPP_NETWORKS: "eip155:31337",
  MPP_ASSETS: `eip155:31337/${token}:USDC:6:USD Coin:2`
}

const demand = {
  x402Version: 2,
  accepts: [{
    scheme: "exact",
    network: "eip155:31337",
    amount: "10000",
    asset: token,
    payTo: "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    maxTimeoutSeconds: 60,
    extra: { name: "USD Coin", version: "2" }
  }]
}

/** A server of this machine, for as long as the test takes. */
export const serve = (handle: (request: IncomingMessage, response: ServerResponse, url: string) => void) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Server>((resume) => {
        const server = createServer((request, response) => handle(request, response, urlOf(server)))
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.sync(() => {
          server.close()
          server.closeAllConnections()
        })
    ),
    urlOf
  )

const urlOf = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

export const base64 = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64")

/**
 * A merchant on this machine: `/paid` delivers, `/hang` takes the credential and says nothing more, `/late` delivers when the
 * credential comes for the second time, and `/free` asks for none.
 */
export const merchant = Effect.gen(function*() {
  const credentials: Array<string> = []
  const url = yield* serve((request, response) => {
    const credential = request.headers["payment-signature"]
    if (request.url === "/free") return void response.writeHead(200).end("free\n")
    if (credential === undefined) {
      response.writeHead(402, { "payment-required": base64(demand) }).end()
      return
    }
    credentials.push(String(credential))
    if (request.url === "/hang" || (request.url === "/late" && credentials.length === 1)) return
    const receipt = { success: true, transaction: "0xabc", network: "eip155:31337" }
    response.writeHead(200, { "payment-response": base64(receipt) }).end(
      request.url === "/late" ? "late\n" : "bought\u0000\n"
    )
  })
  return { url, credentials }
})

export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** For ledgers that end with the tests. */
const homes = mkdtempSync(join(tmpdir(), "mpp-homes-"))
afterAll(() => rmSync(homes, { recursive: true, force: true }))

/** Of somebody who has paid nothing yet. */
export const newHome = () => ({ HOME: mkdtempSync(join(homes, "home-")) })

/** Runs the executable, for a new user unless one is named; with `until`, sends it a signal when that has come to be. */
export const mpp = (
  args: ReadonlyArray<string>,
  env: Record<string, string>,
  until?: () => boolean,
  signal: NodeJS.Signals = "SIGINT"
) =>
  Effect.callback<Ended>((resume) => {
    const child = spawn(process.execPath, [executable, ...args], {
      env: { ...newHome(), ...env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk) => stdout += chunk)
    child.stderr.on("data", (chunk) => stderr += chunk)
    const timer = setInterval(() => {
      if (until?.() !== true) return
      clearInterval(timer)
      child.kill(signal)
    }, 10)
    child.on("close", (status) => {
      clearInterval(timer)
      resume(Effect.succeed({ status, stdout, stderr }))
    })
    return Effect.sync(() => {
      clearInterval(timer)
      child.kill("SIGKILL")
    })
  })
