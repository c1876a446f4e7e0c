import glob,os,io,csv,numpy as np,soundfile as sf
from triptych.modalities.audio.examine import sketch
from triptych.modalities.audio.read import read
root=os.path.expanduser('~/.cache/triptych/samples/digits-v1-audio.audio-image.image-text.text/')
rows=list(csv.DictReader(open(root+'table.csv')))
rs=[read(root+r['audio']) for r in rows]
S=np.stack([np.frombuffer(sketch(r.samples_N,r.rate),np.uint8) for r in rs]); sec=np.array([r.seconds for r in rs])
side=np.array([r['split']!='train' for r in rows]); dig=np.array([r['digit'] for r in rows])
A=S.astype(float)-S.mean(1,keepdims=True); A/=np.linalg.norm(A,axis=1,keepdims=True); C=(A@A.T); np.fill_diagonal(C,0)
R=np.abs(np.log(sec[:,None]/sec[None]))
for t in (.98,.985,.99,.993):
  for tol in (9,.05,.03,.02):
    M=(C>t)&(R<tol); L=M&(side[:,None]!=side[None])
    print(t,tol,'rows',M.any(1).sum(),'leaked judged',(L.any(1)&side).sum(),'other digit',(M&(dig[:,None]!=dig[None])).any(1).sum())
i,j=np.unravel_index(np.argsort(-(C*(side[:,None]&~side[None])*(R<.03)).ravel())[:6],C.shape)
for a,b in zip(i,j): print(C[a,b],rows[a]['id'],rows[a]['audio_group'],sec[a],rows[b]['id'],rows[b]['audio_group'],sec[b])
x=rs[0]
for f in ('MP3','OGG'):
  for n in (0,1,2):
    b=io.BytesIO(); 
    sf.write(b,rs[n].samples_N,22050,format=f); y=read(b.getvalue()); print(f,rs[n].seconds,y.seconds)
