import { render } from "preact";
import { useState } from "preact/hooks";
import { useRoute } from "./route";
import "./style.css";
import { ExperimentList } from "./views/ExperimentList";
import { ExperimentPage } from "./views/ExperimentPage";
import { SignIn } from "./views/SignIn";

function App() {
  const route = useRoute();
  const [signedOut, setSignedOut] = useState(false);
  const onSignedOut = () => setSignedOut(true);
  return (
    <>
      <header class="top">
        <a href="#/" class="brand">
          <img src="/ui/icon.svg" alt="" width="24" height="24" /> Embedding Meter
        </a>
      </header>
      <main>
        {signedOut ? (
          <SignIn onSignedIn={() => setSignedOut(false)} />
        ) : route.view === "list" ? (
          <ExperimentList onSignedOut={onSignedOut} />
        ) : (
          <ExperimentPage key={route.name} name={route.name} onSignedOut={onSignedOut} />
        )}
      </main>
    </>
  );
}

const root = document.getElementById("app");
if (root) render(<App />, root);
